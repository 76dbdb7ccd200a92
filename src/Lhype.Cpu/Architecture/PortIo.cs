// Port input and output (SDM vol. 1, chapter 19): the IOPL check, the I/O permission bitmap of the TSS, IN
// and OUT. The string forms are in StringInstructions.

using Iced.Intel;

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    private const uint TssIoMapField = 0x66;

    /// <summary>Real mode and CPL &lt;= IOPL may touch every port; otherwise, and always in virtual-8086
    /// mode, the bits of all bytes accessed must be clear in the bitmap of a 32-bit TSS.</summary>
    private bool TryCheckPort(uint port, int size)
    {
        if (IsRealMode || (!IsVirtual8086 && _state->Cpl <= Iopl))
        {
            return true;
        }

        ref SegmentCache task = ref _state->Segment(SegmentRegister.Tr);
        if ((task.Type & 8) == 0 || task.Limit < TssIoMapField + 1)
        {
            return RaiseProtection();
        }

        if (!_memory.TryRead(_memory.Wrap(task.Base + TssIoMapField), 2, user: false, out ulong map))
        {
            return false;
        }

        // The processor always reads two bytes, which is why a bitmap ends with a byte of ones.
        uint offset = (uint)map + (port >> 3);
        if (offset + 1 > task.Limit)
        {
            return RaiseProtection();
        }

        if (!_memory.TryRead(_memory.Wrap(task.Base + offset), 2, user: false, out ulong bits))
        {
            return false;
        }

        uint wanted = ((1u << size) - 1) << (int)(port & 7);
        return ((uint)bits & wanted) == 0 || RaiseProtection();
    }

    /// <summary>A port operand: an immediate byte or DX.</summary>
    private uint PortOf(in Instruction instruction, int index) =>
        instruction.GetOpKind(index) == OpKind.Register ? (ushort)_state->Gpr[Edx] : instruction.Immediate8;

    private bool ExecuteIn(in Instruction instruction)
    {
        uint port = PortOf(instruction, 1);
        int size = SizeOf(instruction.Op0Register);
        if (!TryCheckPort(port, size))
        {
            return false;
        }

        _state->Activity = (int)Activity.Port;
        WriteGpr(Eax, size, _bus.ReadPort((ushort)port, size));
        _state->Activity = (int)Activity.Guest;
        return true;
    }

    private bool ExecuteOut(in Instruction instruction)
    {
        uint port = PortOf(instruction, 0);
        int size = SizeOf(instruction.Op1Register);
        if (!TryCheckPort(port, size))
        {
            return false;
        }

        _state->Activity = (int)Activity.Port;
        _bus.WritePort((ushort)port, size, (uint)ReadRegister(instruction.Op1Register));
        _state->Activity = (int)Activity.Guest;
        return true;
    }
}
