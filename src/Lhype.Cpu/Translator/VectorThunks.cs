// The upper halves of the YMM registers around calls of C#. While guest code runs they live in the host's
// registers; C# uses those too, and must not run with upper halves in use, which makes SSE instructions slow.
// So leaving stores them only if they are in use, and entering loads them only if they were: a guest that
// ends its vector code with VZEROUPPER, as compilers do, pays for a look at them.
//
// Emitted for models with AVX only; other guests cannot reach upper halves.

using Lhype.Cpu.Architecture;
using Offset = Lhype.Cpu.CpuState.Offset;

namespace Lhype.Cpu.Translator;

internal sealed unsafe partial class Thunks
{
    private readonly bool _vectors;

    /// <summary>VZEROUPPER of 32-bit code in long mode, which leaves YMM8-15 as they are. Changes the host
    /// flags. -1: not there.</summary>
    internal int ZeroUppers { get; private set; } = -1;

    /// <summary>Stores the upper halves, if they are in use. Changes rax, rcx, rdx and the host
    /// flags.</summary>
    private void EmitSaveUppers()
    {
        if (!_vectors)
        {
            return;
        }

        CodeLabel done = new();
        CodeLabel used = new();
        if (HostCpu.HasInUse)
        {
            _emitter.MoveImmediate(Host.Rcx, 1);
            _emitter.Bytes(0x0F, 0x01, 0xD0);
            _emitter.Test(Host.Rax, (int)CpuModel.XcrAvx);
            _emitter.Jump(Condition.NotEqual, used);
        }
        else
        {
            EmitTestUppers(0, 16, used);
        }

        _emitter.StoreImmediate(Host.State, Offset.UpperInUse, 0);
        _emitter.Jump(done);
        _emitter.Bind(used);
        EmitUppers(EmitExtractUpper);
        _emitter.StoreImmediate(Host.State, Offset.UpperInUse, 1);
        EmitZeroUpper();
        _emitter.Bind(done);
    }

    /// <summary>What C# left in upper halves goes; the guest's come back behind the lower
    /// ones.</summary>
    private void EmitClearUppers()
    {
        if (_vectors)
        {
            EmitZeroUpper();
        }
    }

    private void EmitLoadUppers()
    {
        if (!_vectors)
        {
            return;
        }

        CodeLabel done = new();
        _emitter.CompareMemory(Host.State, Offset.UpperInUse, 0);
        _emitter.Jump(Condition.Equal, done);
        EmitUppers(EmitInsertUpper);
        _emitter.Bind(done);
    }

    /// <summary>YMM0-7, and YMM8-15 in long mode.</summary>
    private void EmitUppers(System.Action<int> emit)
    {
        for (int register = 0; register < 8; register++)
        {
            emit(register);
        }

        _emitter.TestMemory(Host.State, Offset.Efer, (int)ControlBits.EferLongActive);
        int skip = _emitter.JumpForward(Condition.Equal);
        for (int register = 8; register < 16; register++)
        {
            emit(register);
        }

        _emitter.PatchHere(skip);
    }

    /// <summary>vextractf128 [upper], ymm, 1.</summary>
    private void EmitExtractUpper(int register) =>
        EmitUpper(0x19, register, Offset.Upper + (register * 16), source: 0);

    /// <summary>vinsertf128 ymm, ymm, [upper], 1.</summary>
    private void EmitInsertUpper(int register) =>
        EmitUpper(0x18, register, Offset.Upper + (register * 16), register);

    private void EmitUpper(byte opcode, int register, int offset, int source)
    {
        _emitter.Bytes(0xC4, (byte)(register < 8 ? 0xC3 : 0x43), (byte)(((~source & 15) << 3) | 5), opcode);
        _emitter.Memory(register, Host.State, offset);
        _emitter.Byte(1);
    }

    private void EmitZeroUpper() => _emitter.Bytes(0xC5, 0xF8, 0x77);

    /// <summary>Jumps to <paramref name="used"/> if one of these registers has an upper half that is not
    /// 0.</summary>
    private void EmitTestUppers(int first, int end, CodeLabel used)
    {
        for (int register = first; register < end; register++)
        {
            // vptest ymm, [mask]
            _emitter.Bytes(0xC4, (byte)(register < 8 ? 0xC2 : 0x42), 0x7D, 0x17);
            _emitter.Memory(register, Host.State, Offset.UpperMask);
            _emitter.Jump(Condition.NotEqual, used);
        }
    }

    private void EmitVectorThunks()
    {
        if (!_vectors)
        {
            return;
        }

        Align();
        ZeroUppers = _emitter.Offset;
        CodeLabel used = new();
        EmitTestUppers(8, 16, used);
        EmitZeroUpper();
        _emitter.Return();
        _emitter.Bind(used);
        for (int register = 0; register < 8; register++)
        {
            // vmovaps xmm, xmm
            _emitter.Bytes(0xC5, 0xF8, 0x28, (byte)(0xC0 | (register << 3) | register));
        }

        _emitter.Return();
    }
}
