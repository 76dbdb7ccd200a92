// The architectural state of a stopped vCPU for code that holds no pointers: how the machine starts a kernel,
// what it asks after a halt or a triple fault, and the register dump of a crash report. Everything here may
// be called on the vCPU's thread only, while IVcpu.Run is not running.

using System.Globalization;
using System.Text;

namespace Lhype.Cpu;

/// <summary>Typed access to <see cref="IVcpu.State"/>.</summary>
public static unsafe class VcpuRegisters
{
    private static readonly string[] GprNames = ["AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI"];
    private static readonly string[] SegmentNames = ["ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR"];

    /// <summary>Sets general register <paramref name="number"/> (0 = EAX ... 7 = EDI, as encoded).</summary>
    public static void SetGpr(IVcpu vcpu, int number, uint value) => vcpu.State->Gpr[number & 15] = value;

    /// <summary>Loads a segment register with its descriptor cache; see <see cref="SegmentCache"/>.</summary>
    public static void SetSegment(IVcpu vcpu, SegmentRegister register, ushort selector, uint baseAddress,
        uint limit, uint attributes)
    {
        ref SegmentCache segment = ref vcpu.State->Segment(register);
        segment.Selector = selector;
        segment.Base = baseAddress;
        segment.Limit = limit;
        segment.Attributes = attributes;
    }

    /// <summary>Sets what a boot protocol leaves beside general and segment registers: EIP, CR0, GDTR, CPL 0,
    /// EFLAGS clear. Ends by telling the engine that the state changed.</summary>
    public static void SetProtectedMode(IVcpu vcpu, uint eip, uint cr0, uint gdtBase, uint gdtLimit)
    {
        CpuState* state = vcpu.State;
        state->Rip = eip;
        state->Cr0 = cr0;
        state->Cpl = 0;
        state->Eflags = 0;
        state->GdtBase = gdtBase;
        state->GdtLimit = gdtLimit;
        vcpu.StateChanged();
    }

    /// <summary>Sets what paging needs beside CR0, for a kernel that starts in 64-bit mode. Call before
    /// <see cref="SetProtectedMode"/>.</summary>
    public static void SetPaging(IVcpu vcpu, uint cr3, uint cr4, uint efer)
    {
        CpuState* state = vcpu.State;
        state->Cr3 = cr3;
        state->Cr4 = cr4;
        state->Efer = efer;
    }

    /// <summary>Sets the difference between the guest's and the host's time-stamp counter.</summary>
    public static void SetTscOffset(IVcpu vcpu, ulong offset) => vcpu.State->TscOffset = offset;

    /// <summary>True while EFLAGS.IF is set.</summary>
    public static bool InterruptsEnabled(IVcpu vcpu) => vcpu.State->InterruptFlag != 0;

    /// <summary>The IDT's limit in bytes. Operating systems that reset the machine by a triple fault load 0
    /// here first.</summary>
    public static uint IdtLimit(IVcpu vcpu) => vcpu.State->IdtLimit;

    /// <summary>All registers as text, one group a line, for crash reports and the monitor.</summary>
    public static string Describe(IVcpu vcpu)
    {
        CpuState* state = vcpu.State;
        StringBuilder text = new();
        CultureInfo plain = CultureInfo.InvariantCulture;
        bool wide = (state->Efer & ControlBits.EferLongActive) != 0;
        string letter = wide ? "R" : "E";
        string format = wide ? "x16" : "x8";
        for (int i = 0; i < (wide ? 16 : 8); i++)
        {
            string name = i < GprNames.Length ? letter + GprNames[i] : string.Create(plain, $"R{i}");
            text.Append(plain, $"{name}={state->Gpr[i].ToString(format, plain)}")
                .Append(i % 4 == 3 ? '\n' : ' ');
        }

        text.Append(plain, $"{letter}IP={state->Rip.ToString(format, plain)} ")
            .Append(plain, $"{letter}FLAGS={state->Eflags:x8} CPL={state->Cpl}\n");
        for (int i = 0; i < SegmentNames.Length; i++)
        {
            ref SegmentCache segment = ref state->Segment((SegmentRegister)i);
            text.Append(plain, $"{SegmentNames[i],-4}={segment.Selector:x4} base={segment.Base:x8} limit=")
                .Append(plain, $"{segment.Limit:x8} attributes={segment.Attributes:x5}\n");
        }

        text.Append(plain, $"GDT={state->GdtBase:x8}/{state->GdtLimit:x4} ")
            .Append(plain, $"IDT={state->IdtBase:x8}/{state->IdtLimit:x4}\n")
            .Append(plain, $"CR0={state->Cr0:x8} CR2={state->Cr2:x8} CR3={state->Cr3:x8} ")
            .Append(plain, $"CR4={state->Cr4:x8} EFER={state->Efer:x}\n")
            .Append(plain, $"last fault: vector {state->FaultVector} error {state->FaultError:x} ")
            .Append(plain, $"address {state->FaultAddress:x8}");
        return text.ToString();
    }
}
