// The six dialects of the lhype/lguest hypercall interface in one table: where arguments are, where the
// fields of the page shared with the guest lie, which devices it looks for, which rules hold. Everything else
// in this folder is shared by all of them and asks this table. Meaning and sources: docs/hypercalls.md.

using System;

namespace Lhype.Machine.Paravirt.Lguest;

/// <summary>Names of the dialects; the kernels that speak them are listed in docs/hypercalls.md.</summary>
public enum LguestGeneration
{
    /// <summary>Linux 2.6.23.</summary>
    A,
    /// <summary>Linux 2.6.24.</summary>
    B,
    /// <summary>Linux 2.6.25 to about 2.6.29.</summary>
    C,
    /// <summary>About 2.6.30 to 2.6.34.</summary>
    D,
    /// <summary>About 2.6.35 to 3.19.</summary>
    E,
    /// <summary>Linux 4.0 to 4.13.</summary>
    F,
}

/// <summary>How a guest finds its devices.</summary>
public enum LguestDeviceModel
{
    /// <summary>Dialect A: descriptor page, device pages and DMA keys.</summary>
    OldBus,
    /// <summary>Dialect B: virtio on a descriptor page, with type-length-value fields.</summary>
    TaggedPage,
    /// <summary>Dialects C to E: virtio on a descriptor page.</summary>
    Page,
    /// <summary>Dialect F: PCI.</summary>
    Pci,
}

/// <summary>How memory is mapped at the first instruction.</summary>
public enum LguestEntryPaging
{
    /// <summary>RAM at PAGE_OFFSET only.</summary>
    PageOffset,
    /// <summary>RAM one to one.</summary>
    Identity,
    /// <summary>RAM one to one and at PAGE_OFFSET.</summary>
    Both,
    /// <summary>No tables: addresses are physical until the first NEW_PGTABLE.</summary>
    Linear,
}

/// <summary>One dialect.</summary>
public sealed record LguestDialect
{
    /// <summary>A field this dialect does not have.</summary>
    public const uint None = uint.MaxValue;

    /// <summary>Its name.</summary>
    public required LguestGeneration Generation { get; init; }
    /// <summary>Registers (numbers as encoded) that hold the arguments, first argument first.</summary>
    public required byte[] Arguments { get; init; }
    /// <summary>The words of a ring slot that hold the call number and the arguments, in that
    /// order.</summary>
    public required byte[] RingWords { get; init; }
    /// <summary>Words of a ring slot.</summary>
    public int RingStride => RingWords.Length;
    /// <summary>The call instruction is VMCALL, not INT 0x1F.</summary>
    public bool Vmcall { get; init; }
    /// <summary>How devices are found.</summary>
    public required LguestDeviceModel Devices { get; init; }
    /// <summary>Paging at the first instruction.</summary>
    public required LguestEntryPaging Entry { get; init; }

    /// <summary>Offset of irq_pending in the shared structure.</summary>
    public uint IrqPending { get; init; } = None;
    /// <summary>Offset of the 64 status bytes of the ring.</summary>
    public required uint RingStatus { get; init; }
    /// <summary>Offset of the 64 slots of the ring.</summary>
    public required uint Ring { get; init; }
    /// <summary>Offset of reserve_mem.</summary>
    public required uint ReserveMemory { get; init; }
    /// <summary>Offset of the 16-bit guest id.</summary>
    public uint GuestId { get; init; } = None;
    /// <summary>Offset of tsc_khz.</summary>
    public required uint TscKhz { get; init; }
    /// <summary>Offset of pgdir.</summary>
    public uint PageDirectory { get; init; } = None;
    /// <summary>Offset of the start of the range without interrupts.</summary>
    public uint NoIrqStart { get; init; } = None;
    /// <summary>Offset of the end of the range without interrupts.</summary>
    public uint NoIrqEnd { get; init; } = None;
    /// <summary>Offset of the address of the one IRET without a frame.</summary>
    public uint NoIrqReturn { get; init; } = None;
    /// <summary>Offset of kernel_address.</summary>
    public uint KernelAddress { get; init; } = None;
    /// <summary>Offset of syscall_vec.</summary>
    public uint SyscallVector { get; init; } = None;
    /// <summary>Size of the shared structure in bytes.</summary>
    public required uint DataBytes { get; init; }

    /// <summary>Offsets of the fields that are the same in all dialects.</summary>
    public const uint IrqEnabled = 0, BlockedInterrupts = 4, FaultAddress = 8, TimeSeconds = 12,
        TimeNanoseconds = 16;

    /// <summary>D and later: SHUTDOWN's second argument, LOAD_GDT_ENTRY, SEND_INTERRUPTS, SET_PGD.</summary>
    public bool IsAtLeast(LguestGeneration generation) => Generation >= generation;

    /// <summary>The dialect called <paramref name="generation"/>.</summary>
    public static LguestDialect Of(LguestGeneration generation) => All[(int)generation];

    private const byte Eax = 0, Ecx = 1, Edx = 2, Ebx = 3, Esi = 6;

    private static readonly LguestDialect A = new()
    {
        Generation = LguestGeneration.A,
        Arguments = [Edx, Ebx, Ecx],
        RingWords = [0, 1, 2, 3],
        Devices = LguestDeviceModel.OldBus,
        Entry = LguestEntryPaging.PageOffset,
        RingStatus = 20,
        Ring = 84,
        ReserveMemory = 1108,
        GuestId = 1112,
        TscKhz = 1116,
        NoIrqStart = 1120,
        NoIrqEnd = 1124,
        DataBytes = 1128,
    };

    private static readonly LguestDialect B = A with
    {
        Generation = LguestGeneration.B,
        RingWords = [0, 3, 1, 2],
        Devices = LguestDeviceModel.TaggedPage,
        Entry = LguestEntryPaging.Identity,
        GuestId = None,
        TscKhz = 1112,
        PageDirectory = 1116,
        KernelAddress = 1128,
        SyscallVector = 1132,
        DataBytes = 1136,
    };

    private static readonly LguestDialect C = B with
    {
        Generation = LguestGeneration.C,
        Devices = LguestDeviceModel.Page,
    };

    private static readonly LguestDialect D = new()
    {
        Generation = LguestGeneration.D,
        Arguments = [Ebx, Ecx, Edx, Esi],
        RingWords = [0, 1, 2, 3, 4],
        Vmcall = true,
        Devices = LguestDeviceModel.Page,
        Entry = LguestEntryPaging.Both,
        IrqPending = 20,
        RingStatus = 24,
        Ring = 88,
        ReserveMemory = 1368,
        TscKhz = 1372,
        PageDirectory = 1376,
        NoIrqStart = 1380,
        NoIrqEnd = 1384,
        KernelAddress = 1388,
        SyscallVector = 1392,
        DataBytes = 1396,
    };

    private static readonly LguestDialect E = D with
    {
        Generation = LguestGeneration.E,
        Vmcall = false,
        Entry = LguestEntryPaging.Linear,
        PageDirectory = None,
        NoIrqStart = 1376,
        NoIrqEnd = 1380,
        KernelAddress = 1384,
        SyscallVector = 1388,
        DataBytes = 1392,
    };

    private static readonly LguestDialect F = E with
    {
        Generation = LguestGeneration.F,
        Devices = LguestDeviceModel.Pci,
        NoIrqStart = None,
        NoIrqEnd = None,
        NoIrqReturn = 1376,
        KernelAddress = 1380,
        SyscallVector = 1384,
        DataBytes = 1388,
    };

    private static readonly LguestDialect[] All = [A, B, C, D, E, F];

    /// <summary>Number of calls the ring holds.</summary>
    public const int RingSlots = 64;
}
