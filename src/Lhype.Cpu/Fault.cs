// Guest-visible faults are values, never .NET exceptions (a throw costs 2-3 us): an operation that faults
// records vector, error code and address in CpuState and returns false; Events delivers what is recorded.

namespace Lhype.Cpu;

/// <summary>Exception vectors (SDM vol. 3, table 6-1).</summary>
public static class Vector
{
    /// <summary>#DE.</summary>
    public const uint DivideError = 0;
    /// <summary>#DB.</summary>
    public const uint Debug = 1;
    /// <summary>NMI.</summary>
    public const uint Nmi = 2;
    /// <summary>#BP.</summary>
    public const uint Breakpoint = 3;
    /// <summary>#OF.</summary>
    public const uint Overflow = 4;
    /// <summary>#BR.</summary>
    public const uint BoundRange = 5;
    /// <summary>#UD.</summary>
    public const uint InvalidOpcode = 6;
    /// <summary>#NM.</summary>
    public const uint DeviceNotAvailable = 7;
    /// <summary>#DF.</summary>
    public const uint DoubleFault = 8;
    /// <summary>#TS.</summary>
    public const uint InvalidTss = 10;
    /// <summary>#NP.</summary>
    public const uint SegmentNotPresent = 11;
    /// <summary>#SS.</summary>
    public const uint StackFault = 12;
    /// <summary>#GP.</summary>
    public const uint GeneralProtection = 13;
    /// <summary>#PF.</summary>
    public const uint PageFault = 14;
    /// <summary>#MF.</summary>
    public const uint FloatingPoint = 16;
    /// <summary>#AC.</summary>
    public const uint AlignmentCheck = 17;
    /// <summary>#MC.</summary>
    public const uint MachineCheck = 18;
    /// <summary>#XM.</summary>
    public const uint SimdFloatingPoint = 19;
}

/// <summary>Records faults in a <see cref="CpuState"/>. Every method returns false, so that a failing
/// operation can say <c>return Fault.Raise(...)</c>.</summary>
public static unsafe class Fault
{
    /// <summary>Records an exception.</summary>
    public static bool Raise(CpuState* state, uint vector, uint errorCode = 0)
    {
        state->FaultVector = vector;
        state->FaultError = errorCode;
        return false;
    }

    /// <summary>Records #PF with the address for CR2 and the error code of SDM vol. 3, 4.7.</summary>
    public static bool RaisePage(CpuState* state, ulong linear, uint errorCode)
    {
        state->FaultAddress = linear;
        return Raise(state, Vector.PageFault, errorCode);
    }
}

/// <summary>What became of an instruction executed in C#.</summary>
public enum Outcome
{
    /// <summary>Done; EIP holds the next instruction's (or the jump target's) offset.</summary>
    Done,
    /// <summary>It faulted: the fault is recorded in the state, and no other state has changed.</summary>
    Fault,
    /// <summary>HLT: done, and the CPU waits for an interrupt.</summary>
    Halt,
}
