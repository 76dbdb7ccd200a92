// The AVX instructions that access several elements each on its own (SDM vol. 2: VMASKMOV, VPMASKMOV,
// VGATHER, VPGATHER), and those of AVX that change what C# keeps. Elements that are masked off are not
// accessed and do not fault. Masked moves come here only if their operand as a whole is not at hand; gathers
// always, unless a user window runs them.
//
// Called by ExecuteOptional for VEX-encoded instructions that trapped.

using Iced.Intel;

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    /// <summary>A VEX-encoded instruction on vector registers.</summary>
    private bool ExecuteVector(in Instruction instruction)
    {
        if (!UsesDescriptors || !IsWideCode)
        {
            // VEX does not exist in real and virtual-8086 mode; nobody has 16-bit code with it elsewhere.
            return RaiseUndefined();
        }

        if (!RequireAvx())
        {
            return false;
        }

        switch (instruction.Mnemonic)
        {
            case Mnemonic.Vmaskmovps or Mnemonic.Vpmaskmovd:
                return ExecuteMaskedMove(instruction, 4);
            case Mnemonic.Vmaskmovpd or Mnemonic.Vpmaskmovq:
                return ExecuteMaskedMove(instruction, 8);
            case Mnemonic.Vgatherdps or Mnemonic.Vpgatherdd:
                return ExecuteGather(instruction, indexSize: 4, size: 4);
            case Mnemonic.Vgatherdpd or Mnemonic.Vpgatherdq:
                return ExecuteGather(instruction, indexSize: 4, size: 8);
            case Mnemonic.Vgatherqps or Mnemonic.Vpgatherqd:
                return ExecuteGather(instruction, indexSize: 8, size: 4);
            case Mnemonic.Vgatherqpd or Mnemonic.Vpgatherqq:
                return ExecuteGather(instruction, indexSize: 8, size: 8);
            case Mnemonic.Vldmxcsr:
                return TryLoadMxcsr(instruction);
            case Mnemonic.Vzeroall:
                ZeroVectors();
                return true;
            default:
                // CR0.EM or CR4.OSFXSR disable SSE and not AVX on a CPU; no kernel has one without the other.
                return RaiseUndefined();
        }
    }

    private bool IsWideCode =>
        IsLongCode || (_state->Segment(SegmentRegister.Cs).Attributes & SegmentCache.BigBit) != 0;

    /// <summary>VZEROALL outside 64-bit mode leaves YMM8-15 as they are.</summary>
    private void ZeroVectors()
    {
        int count = VectorCount;
        new System.Span<byte>(_state->Xmm, count * 16).Clear();
        for (int i = 0; i < count; i++)
        {
            SetUpper(i, 0, 0);
        }

        ForgetZeroUppers();
    }

    private static int VectorNumber(Register register) =>
        register.IsYMM() ? register - Register.YMM0 : register - Register.XMM0;

    /// <summary>Copies an XMM or YMM register to 32 bytes.</summary>
    private void ReadVector(Register register, byte* image)
    {
        int number = VectorNumber(register);
        for (int i = 0; i < 2; i++)
        {
            ((ulong*)image)[i] = ((ulong*)_state->Xmm)[(number * 2) + i];
            ((ulong*)image)[2 + i] = register.IsYMM() && _state->UpperInUse != 0
                ? _state->Upper[(number * 2) + i] : 0;
        }
    }

    /// <summary>Writes all 256 bits of the register.</summary>
    private void WriteVector(Register register, byte* image)
    {
        int number = VectorNumber(register);
        ulong* words = (ulong*)image;
        ((ulong*)_state->Xmm)[number * 2] = words[0];
        ((ulong*)_state->Xmm)[(number * 2) + 1] = words[1];
        SetUpper(number, words[2], words[3]);
    }

    private bool ExecuteMaskedMove(in Instruction instruction, int size)
    {
        bool store = instruction.Op0Kind == OpKind.Memory;
        byte* mask = stackalloc byte[32];
        byte* data = stackalloc byte[32];
        new System.Span<byte>(data, 32).Clear();
        ReadVector(instruction.Op1Register, mask);
        if (store)
        {
            ReadVector(instruction.Op2Register, data);
        }

        int bytes = instruction.Op1Register.IsYMM() ? 32 : 16;
        ulong offset = EffectiveAddress(instruction);
        for (int pass = store ? 0 : 1; pass < 2; pass++)
        {
            for (int at = 0; at < bytes; at += size)
            {
                if ((mask[at + size - 1] & 0x80) != 0
                    && !TryMoveElement(instruction, offset + (ulong)at, size, data + at, store, pass == 0))
                {
                    return false;
                }
            }
        }

        if (!store)
        {
            WriteVector(instruction.Op0Register, data);
        }

        return true;
    }

    /// <summary>One element between memory and <paramref name="data"/>; a store with
    /// <paramref name="probe"/> only finds its faults.</summary>
    private bool TryMoveElement(in Instruction instruction, ulong offset, int size, byte* data, bool store,
        bool probe)
    {
        offset = WrapAddress(instruction, offset);
        if (!TryLinearize(SegmentOf(instruction), offset, size, store, out ulong linear))
        {
            return false;
        }

        if (store)
        {
            return probe ? _memory.TryProbeWrite(linear, size, IsUser)
                : _memory.TryWriteBytes(linear, data, size, IsUser);
        }

        return _memory.TryReadBytes(linear, data, size, IsUser);
    }

    /// <summary>Cuts an offset to the address size of the instruction.</summary>
    private static ulong WrapAddress(in Instruction instruction, ulong offset)
    {
        bool narrow = instruction.MemoryBase != Register.None ? instruction.MemoryBase < Register.RAX
            : instruction.MemoryDisplSize != 8 && instruction.MemoryIndex is not
                (>= Register.RAX and <= Register.R15);
        return narrow && instruction.MemoryBase != Register.RIP ? (uint)offset : offset;
    }

    /// <summary>Gathers element by element, lowest first. Each one that is loaded leaves the mask, so that a
    /// fault in the middle leaves registers from which the instruction goes on. What such a fault leaves
    /// beside that is not architecture; here it is as on Intel's CPUs: the mask has become whole elements,
    /// and the target is as it was if nothing has been loaded.</summary>
    private bool ExecuteGather(in Instruction instruction, int indexSize, int size)
    {
        Register target = instruction.Op0Register, indexRegister = instruction.MemoryIndex;
        byte* data = stackalloc byte[32];
        byte* mask = stackalloc byte[32];
        byte* index = stackalloc byte[32];
        ReadVector(Register.YMM0 + VectorNumber(target), data);
        ReadVector(Register.YMM0 + VectorNumber(instruction.Op2Register), mask);
        ReadVector(indexRegister, index);
        ulong start = instruction.MemoryDisplacement64
            + (instruction.MemoryBase != Register.None ? ReadRegister(instruction.MemoryBase) : 0);
        int targetBytes = target.IsYMM() ? 32 : 16, indexBytes = indexRegister.IsYMM() ? 32 : 16;
        int count = System.Math.Min(targetBytes / size, indexBytes / indexSize);
        int vectorBytes = System.Math.Max(targetBytes, indexBytes);
        for (int at = 0; at < 32; at += size)
        {
            bool wanted = at < vectorBytes && (mask[at + size - 1] & 0x80) != 0;
            new System.Span<byte>(mask + at, size).Fill(wanted ? byte.MaxValue : (byte)0);
        }

        bool done = true, loaded = false;
        for (int i = 0; i < count && done; i++)
        {
            if (mask[i * size] != 0)
            {
                long distance = indexSize == 4 ? ((int*)index)[i] : ((long*)index)[i];
                ulong offset = start + ((ulong)distance * (ulong)instruction.MemoryIndexScale);
                done = TryMoveElement(instruction, offset, size, data + (i * size), store: false,
                    probe: false);
                new System.Span<byte>(mask + (i * size), size).Fill(done ? (byte)0 : byte.MaxValue);
                loaded |= done;
            }
        }

        if (done)
        {
            new System.Span<byte>(mask, 32).Clear();
        }

        if (done || loaded)
        {
            int bytes = done ? count * size : vectorBytes;
            new System.Span<byte>(data + bytes, 32 - bytes).Clear();
        }

        WriteVector(target, data);
        WriteVector(instruction.Op2Register, mask);
        return done;
    }
}
