// String instructions without a repeat prefix, in flat mode. Kernels' strcmp and friends are loops of LODS and SCAS, so
// these must not leave emitted code. Repeated forms go to C#, which runs them page by page at the host's pace.

using Iced.Intel;
using Lhype.Cpu.Mmu;
using Offset = Lhype.Cpu.CpuState.Offset;

namespace Lhype.Cpu.Translator;

internal sealed unsafe partial class Translator
{
    private void LowerLoadString(in Instruction instruction)
    {
        int size = instruction.MemorySize.GetSize();
        BeginSource(instruction, size);
        EmitSized(0x8A, size, Host.Rax);
        EmitStep(Host.Rsi, size);
        EndOperand();
    }

    private void LowerStoreString(in Instruction instruction)
    {
        int size = instruction.MemorySize.GetSize();
        BeginDestination(instruction, size, write: true);
        EmitSized(0x88, size, Host.Rax);
        EmitStep(Host.Rdi, size);
        EndOperand();
    }

    private void LowerScanString(in Instruction instruction)
    {
        int size = instruction.MemorySize.GetSize();
        BeginDestination(instruction, size, write: false);
        EmitSized(0x3A, size, Host.Rax);
        EmitStep(Host.Rdi, size);
        EndOperand();
    }

    private void LowerMoveString(in Instruction instruction)
    {
        int size = instruction.MemorySize.GetSize();
        EmitSourceToTemp(instruction, size);
        BeginDestination(instruction, size, write: true);
        _emit.Load(Host.Scratch, Host.State, Offset.Temp0);
        EmitSized(0x88, size, Host.Scratch);
        EmitStep(Host.Rsi, size);
        EmitStep(Host.Rdi, size);
        EndOperand();
    }

    private void LowerCompareString(in Instruction instruction)
    {
        int size = instruction.MemorySize.GetSize();
        EmitSourceToTemp(instruction, size);
        BeginDestination(instruction, size, write: false);
        _emit.Load(Host.Scratch, Host.State, Offset.Temp0);
        EmitSized(0x3A, size, Host.Scratch);
        EmitStep(Host.Rsi, size);
        EmitStep(Host.Rdi, size);
        EndOperand();
    }

    /// <summary>The element at [ESI], kept in Temp0 while the other operand is checked.</summary>
    private void EmitSourceToTemp(in Instruction instruction, int size)
    {
        BeginSource(instruction, size);
        EmitSized(0x8A, size, Host.Scratch);
        _emit.Store(Host.Scratch, Host.State, Offset.Temp0);
        EndOperand();
    }

    /// <summary>Checks a read at the (possibly overridden) segment:ESI.</summary>
    private void BeginSource(in Instruction instruction, int size)
    {
        SegmentRegister segment = SegmentOf(instruction.MemorySegment);
        bool segmented = NeedsSegmentCheck(segment, write: false);
        _emit.Move(Host.Address, Host.Rsi);
        EmitSegmentBase(segmented ? null : segment);
        BeginAccess(instruction, size, read: true, write: false, segmented, segment);
    }

    /// <summary>Checks an access at ES:EDI.</summary>
    private void BeginDestination(in Instruction instruction, int size, bool write)
    {
        _emit.Move(Host.Address, Host.Rdi);
        BeginAccess(instruction, size, !write, write, segmented: false, SegmentRegister.Es);
    }

    /// <summary>A byte opcode, or the 16- or 32-bit form one above it, on a register and [r8].</summary>
    private void EmitSized(int byteOpcode, int size, int register)
    {
        if (size == 2)
        {
            _emit.Byte(0x66);
        }

        _emit.OpMemory(size == 1 ? byteOpcode : byteOpcode + 1, register, Host.Address, 0);
    }

    /// <summary>register += DF step * size, without touching flags: lea reg, [reg + r9 * size].</summary>
    private void EmitStep(int register, int size)
    {
        _emit.Load(Host.Scratch, Host.State, Offset.DirectionStep, wide: true);
        int scaleBits = size switch { 1 => 0, 2 => 1, _ => 2 };
        _emit.Rex(false, register, Host.Scratch, register, force: false);
        _emit.Bytes(0x8D, (byte)(0x04 | (register << 3)),
            (byte)((scaleBits << 6) | ((Host.Scratch & 7) << 3) | register));
    }

    /// <summary>r8d += base of FS or GS; other segments are flat here.</summary>
    private void EmitSegmentBase(SegmentRegister? segment)
    {
        if (segment is SegmentRegister.Fs or SegmentRegister.Gs)
        {
            _emit.Load(Host.Scratch, Host.State, Offset.Segments + ((int)segment * 32));
            _emit.Rex(false, Host.Address, Host.Scratch, Host.Address, force: true);
            _emit.Bytes(0x8D, (byte)(0x04 | ((Host.Address & 7) << 3)),
                (byte)(((Host.Scratch & 7) << 3) | (Host.Address & 7)));
        }
    }
}
