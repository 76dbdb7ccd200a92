// The hypervisor of one lguest guest: the structure it shares with the guest, the first call, the ring of
// delayed calls, and the end of guests that break a rule. The calls themselves are in LguestCalls.cs,
// interrupts and the clock in LguestInterrupts.cs. Made by LguestBuilder; called by the engine, on the vCPU's
// thread.

using System;
using System.Globalization;
using System.IO;
using System.Text;
using Lhype.Cpu;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Paravirt.Lguest;

/// <summary>What the host needs to know of the guest it starts.</summary>
public sealed record LguestSetup
{
    /// <summary>The dialect; null: found from the guest's first call.</summary>
    public LguestDialect? Dialect { get; init; }
    /// <summary>The kernel was built for PAE (dialect D; later ones are recognised by their
    /// tables).</summary>
    public bool Extended { get; init; }
    /// <summary>First address after the RAM the guest is told of.</summary>
    public required uint MemoryTop { get; init; }
    /// <summary>First address after the room for the page tables the guest starts with.</summary>
    public required uint TablesEnd { get; init; }
    /// <summary>PAGE_OFFSET: where the kernel is linked for, less where it is loaded.</summary>
    public uint PageOffset { get; init; } = 0xC000_0000;
    /// <summary>The kernel's release, "2.6.25..." or empty: tells B from C.</summary>
    public string Release { get; init; } = "";
    /// <summary>What a guest of dialect A tells others it is.</summary>
    public ushort GuestId { get; init; } = 1;
}

/// <summary>The hypervisor of one guest.</summary>
public sealed partial class LguestHost : IParavirtualHost, IInterruptSource, ISaveable
{
    private const int TracedCalls = 16;
    private const uint HostReservedBytes = 4 << 20;
    private const byte SlotDone = 0xFF;

    private readonly VirtualMachine _machine;
    private readonly GuestMemory _memory;
    private readonly GuestConsole _console;
    private readonly LguestSetup _setup;
    private readonly Func<LguestDialect, ILguestDevices> _makeDevices;
    private readonly ClockTimer _timer;
    private readonly LguestCall[] _trace = new LguestCall[TracedCalls];
    private ParavirtualCpu _cpu = null!;
    private LguestDialect? _dialect;
    private ILguestDevices? _devices;
    private int _traceCount;
    private bool _extended;
    private bool _initialised;
    private uint _data;
    private int _ringNext;

    /// <summary>Makes the host; <paramref name="makeDevices"/> is called once the dialect is known.
    /// <see cref="Attach"/> completes it.</summary>
    public LguestHost(VirtualMachine machine, GuestMemory memory, GuestConsole console, LguestSetup setup,
        Func<LguestDialect, ILguestDevices> makeDevices)
    {
        _machine = machine;
        _memory = memory;
        _console = console;
        _setup = setup;
        _makeDevices = makeDevices;
        _timer = machine.Clock.CreateTimer(() => RaiseInterrupt(0));
    }

    /// <summary>The dialect, once it is known.</summary>
    public LguestDialect? Dialect => _dialect;

    /// <summary>Takes the guest's CPU and puts it at its first instruction, <paramref name="entry"/>, with
    /// memory mapped as the dialect says.</summary>
    public void Attach(ParavirtualCpu cpu, uint entry)
    {
        _cpu = cpu;
        _extended = _setup.Extended;
        cpu.Start(entry);
        if (_setup.Dialect != null)
        {
            Settle(_setup.Dialect, _setup.PageOffset);
        }
    }

    /// <inheritdoc/>
    public bool IgnoresCli => _dialect?.IsAtLeast(LguestGeneration.D) ?? false;

    /// <inheritdoc/>
    public uint? FramelessReturn => _frameless;

    /// <inheritdoc/>
    public void PageFaulted(uint address)
    {
        if (_initialised)
        {
            WriteWord(LguestDialect.FaultAddress, address);
        }
    }

    /// <inheritdoc/>
    public void Kill(string reason) => _machine.Kill(reason);

    /// <inheritdoc/>
    public bool Hypercall(bool vmcall)
    {
        if (vmcall && _dialect is { Vmcall: false })
        {
            return false;
        }

        if (!_initialised)
        {
            Initialise(vmcall);
            return true;
        }

        DrainRing();
        ReadOnlySpan<byte> registers = _dialect!.Arguments;
        LguestCall call = new(_cpu.Eip, _cpu.Gpr(0), _cpu.Gpr(registers[0]), _cpu.Gpr(registers[1]),
            _cpu.Gpr(registers[2]), registers.Length > 3 ? _cpu.Gpr(registers[3]) : 0);
        if (_machine.Ended is null && Execute(call) is { } result)
        {
            _cpu.SetGpr(0, result);
        }

        return true;
    }

    /// <summary>The last calls, the newest last, one a line; for crash reports.</summary>
    public string DescribeCalls()
    {
        StringBuilder text = new("last hypercalls:");
        for (int i = Math.Max(0, _traceCount - TracedCalls); i < _traceCount; i++)
        {
            text.Append("\n  ").Append(_trace[i % TracedCalls]);
        }

        return text.Append(_traceCount == 0 ? " none" : "").ToString();
    }

    /// <inheritdoc/>
    public void Save(BinaryWriter writer)
    {
        writer.Write(_dialect is null ? -1 : (int)_dialect.Generation);
        writer.Write(_extended);
        writer.Write(_initialised);
        writer.Write(_data);
        writer.Write(_ringNext);
        SaveInterrupts(writer);
        _cpu.Save(writer);
        _devices?.Save(writer);
    }

    /// <summary>Reads back what <see cref="Save"/> wrote, into a host made with the same setup. CPU registers
    /// and RAM are restored by their owners, RAM after this.</summary>
    public void Restore(BinaryReader reader)
    {
        int generation = reader.ReadInt32();
        if (generation is < -1 or > (int)LguestGeneration.F)
        {
            throw new InvalidDataException("A saved lguest dialect is none.");
        }

        _dialect = generation < 0 ? null : LguestDialect.Of((LguestGeneration)generation);
        _extended = reader.ReadBoolean();
        _initialised = reader.ReadBoolean();
        _data = reader.ReadUInt32();
        _ringNext = reader.ReadInt32();
        bool sound = _ringNext is >= 0 and < LguestDialect.RingSlots
            && (!_initialised || (_dialect is not null && _memory.Contains(_data, _dialect.DataBytes)));
        if (!sound)
        {
            throw new InvalidDataException("A saved lguest host makes no sense.");
        }

        RestoreInterrupts(reader);
        _cpu.Restore(reader);
        if (_dialect is not null)
        {
            if (_devices is null)
            {
                AddDevices(_dialect);
            }

            _devices!.Restore(reader);
        }
    }

    /// <summary>LGUEST_INIT, or the end of a guest that began with anything else.</summary>
    private void Initialise(bool vmcall)
    {
        uint number = _cpu.Gpr(0);
        LguestDialect dialect =
            _dialect ?? LguestDetection.FromFirstCall(_cpu, _memory, vmcall, _setup.Release);
        uint data = _cpu.Gpr(dialect.Arguments[0]);
        Trace(new LguestCall(_cpu.Eip, number, data, 0, 0, 0));
        if (number != LguestCallNumber.Init)
        {
            Kill($"hypercall {number} before LGUEST_INIT");
            return;
        }

        if (!_memory.Contains(data, dialect.DataBytes))
        {
            Kill($"bad guest page {data:x8} for lguest_data");
            return;
        }

        _data = data;
        if (_dialect is null)
        {
            uint kernelAddress = dialect.KernelAddress == LguestDialect.None
                ? _setup.PageOffset : ReadWord(dialect.KernelAddress, dialect);
            Settle(dialect, kernelAddress);
        }

        _initialised = true;
        ReadInterruptFields();
        WriteWord(dialect.ReserveMemory, HostReservedBytes);
        WriteWord(dialect.TscKhz, (uint)Math.Min(_machine.Clock.TicksHz / 1000, uint.MaxValue));
        if (dialect.PageDirectory != LguestDialect.None)
        {
            WriteWord(dialect.PageDirectory, _cpu.PageTable);
        }

        if (dialect.GuestId != LguestDialect.None)
        {
            _ = _memory.TryWriteUInt16(_data + dialect.GuestId, _setup.GuestId);
        }

        WriteTime();
        _cpu.FlushTranslations(all: true);
    }

    /// <summary>The dialect is known: map memory as it wants and give it its devices.</summary>
    private void Settle(LguestDialect dialect, uint pageOffset)
    {
        _dialect = dialect;
        if (dialect.Entry != LguestEntryPaging.Linear)
        {
            uint top = LguestTables.Build(_memory, dialect.Entry, _setup.MemoryTop, _setup.TablesEnd,
                pageOffset, _extended);
            _ = _cpu.TryLoadPageTable(top, _extended);
        }

        AddDevices(dialect);
    }

    private void AddDevices(LguestDialect dialect)
    {
        if (dialect.Devices != LguestDeviceModel.Pci)
        {
            ulong end = _memory.Size;
            _machine.Bus.AddMmio(end, 0x1_0000_0000 - end, new LguestBeyondRam(end, Kill));
        }

        _devices = _makeDevices(dialect);
        _devices.Place();

        // In dialect A delayed calls are made whenever the guest is left, not only at the next call.
        if (dialect.Generation == LguestGeneration.A)
        {
            _machine.Polled = () =>
            {
                if (_initialised)
                {
                    DrainRing();
                }
            };
        }
    }

    /// <summary>Makes the delayed calls of the ring, in order, once around at most.</summary>
    private void DrainRing()
    {
        LguestDialect dialect = _dialect!;
        ReadOnlySpan<byte> words = dialect.RingWords;
        Span<uint> values = stackalloc uint[5];
        Span<byte> status = stackalloc byte[1];
        for (int i = 0; i < LguestDialect.RingSlots && _machine.Ended is null; i++)
        {
            ulong statusAt = _data + dialect.RingStatus + (uint)_ringNext;
            if (!_memory.TryRead(statusAt, status) || status[0] == SlotDone)
            {
                return;
            }

            values.Clear();
            uint slot = dialect.Ring + (uint)(_ringNext * dialect.RingStride * 4);
            for (int word = 0; word < words.Length; word++)
            {
                values[word] = ReadWord(slot + ((uint)words[word] * 4), dialect);
            }

            _ringNext = (_ringNext + 1) % LguestDialect.RingSlots;
            _ = Execute(new LguestCall(0, values[0], values[1], values[2], values[3], values[4]));
            _ = _memory.TryWrite(statusAt, [SlotDone]);
        }
    }

    private void Trace(in LguestCall call)
    {
        _trace[_traceCount % TracedCalls] = call;
        _traceCount++;
    }

    // The structure was checked to be RAM when the guest announced it, and RAM never goes away.
    private uint ReadWord(uint offset, LguestDialect dialect) =>
        offset < dialect.DataBytes && _memory.TryReadUInt32(_data + offset, out uint value) ? value : 0;

    private uint ReadWord(uint offset) => ReadWord(offset, _dialect!);

    private void WriteWord(uint offset, uint value) => _ = _memory.TryWriteUInt32(_data + offset, value);
}

/// <summary>One hypercall, as it was made. <paramref name="Eip"/> is 0 for calls out of the ring.</summary>
internal readonly record struct LguestCall(uint Eip, uint Number, uint First, uint Second, uint Third,
    uint Fourth)
{
    /// <inheritdoc/>
    public override string ToString()
    {
        string from = Eip == 0 ? "ring" : Eip.ToString("x8", CultureInfo.InvariantCulture);
        return $"{from,-8} {LguestCallNumber.NameOf(Number)}({First:x}, {Second:x}, {Third:x}, {Fourth:x})";
    }
}
