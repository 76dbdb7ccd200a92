// The local APIC of one CPU in xAPIC mode: accepts interrupt messages, keeps their priorities, and holds the
// timer Linux uses. Its registers are a 4 KiB page at FEE00000, and two MSRs. The timer part is
// LocalApicTimer. Source: SDM vol. 3, chapter 11.

using System;
using System.IO;
using Lhype.Cpu;
using Lhype.Cpu.Architecture;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Devices;

/// <summary>A local APIC. One CPU for now: messages to other ids find nobody.</summary>
public sealed class LocalApic : IMmioDevice, ISaveable
{
    /// <summary>Frequency of the timer's input clock in Hz: the "crystal clock" of CPUID leaf 0x15.</summary>
    public const uint TimerHz = CpuModel.CrystalHz;

    /// <summary>MSR with base address, enable and BSP bits.</summary>
    public const uint BaseMsr = 0x1B;

    /// <summary>MSR of the timer in TSC-deadline mode.</summary>
    public const uint TscDeadlineMsr = 0x6E0;

    private const ulong BaseEnable = 1 << 11;
    private const ulong BaseBootCpu = 1 << 8;
    private const ulong BaseAddressMask = 0xFF_FFFF_F000;
    private const uint LvtMasked = 1 << 16;
    private const uint SvrEnable = 1 << 8;
    private const uint VersionValue = 0x0005_0014;

    // Error status bits (11.5.3).
    private const uint ErrorSendIllegal = 1 << 5;
    private const uint ErrorReceiveIllegal = 1 << 6;
    private const uint ErrorIllegalRegister = 1 << 7;

    private const int LvtTimer = 0;
    private const int LvtLint0 = 3;
    private const int LvtLint1 = 4;
    private const int LvtError = 5;

    // Writable bits of the six local vector table entries: timer, thermal, performance, LINT0, LINT1, error
    // (11.5.1). Delivery status (bit 12) always reads as idle and remote IRR (14) is not kept for the pins.
    private static ReadOnlySpan<uint> LvtWritable =>
        [0x7_00FF, 0x1_07FF, 0x1_07FF, 0x1_A7FF, 0x1_A7FF, 0x1_00FF];

    private readonly byte _hardwareId;
    private readonly LocalApicTimer _timer;
    private readonly uint[] _lvt = new uint[6];
    private VectorSet _irr;
    private VectorSet _isr;
    private VectorSet _tmr;
    private ulong _base;
    private byte _id;
    private byte _taskPriority;
    private byte _logicalId;
    private uint _destinationFormat;
    private uint _spurious;
    private uint _errors;
    private uint _errorsShown;
    private uint _commandLow;
    private uint _commandHigh;

    /// <summary>Makes the APIC of CPU <paramref name="id"/>, in the state firmware leaves it (virtual
    /// wire).</summary>
    public LocalApic(VirtualClock clock, byte id)
    {
        _hardwareId = id;
        _timer = new LocalApicTimer(clock, TimerFired);
        Reset();
        SetVirtualWire();
    }

    /// <summary>The bus range of the registers; moved and switched off by <see cref="BaseMsr"/>.</summary>
    public MmioRange? Window { get; set; }

    /// <summary>Called with the vector at every EOI of a level-triggered interrupt.</summary>
    public Action<byte>? EndOfInterrupt { get; set; }

    /// <summary>Called when an NMI is delivered to this CPU.</summary>
    public Action? NonMaskableInterrupt { get; set; }

    /// <summary>True while a vector waits whose priority is above the processor priority.</summary>
    public bool InterruptReady { get; private set; }

    /// <summary>True while the 8259's INT output reaches the CPU: APIC off, or LINT0 programmed as
    /// ExtINT.</summary>
    public bool AcceptsExtInt =>
        !GloballyEnabled || (_lvt[LvtLint0] & (LvtMasked | 0x700)) == (uint)DeliveryMode.ExtInt << 8;

    private bool GloballyEnabled => (_base & BaseEnable) != 0;

    private bool SoftwareEnabled => (_spurious & SvrEnable) != 0;

    private byte ProcessorPriority
    {
        get
        {
            int serving = Math.Max(_isr.Highest(), 0);
            return (_taskPriority & 0xF0) >= (serving & 0xF0) ? _taskPriority : (byte)(serving & 0xF0);
        }
    }

    /// <summary>Claims the register page and keeps its handle.</summary>
    public void Attach(AddressBus bus) =>
        Window = bus.AddMmio(MemoryMap.LocalApicBase, MemoryMap.LocalApicLength, this);

    /// <summary>The state after RESET (11.4.7.1), APIC globally enabled, this CPU the boot CPU if its id is
    /// 0.</summary>
    public void Reset()
    {
        SetBase(MemoryMap.LocalApicBase | BaseEnable | (_hardwareId == 0 ? BaseBootCpu : 0));
        ResetRegisters();
    }

    /// <summary>What firmware sets up before an operating system starts: APIC on, the 8259 on LINT0, NMI on
    /// LINT1 ("virtual wire mode", MultiProcessor Specification 1.4, 3.6.2.2).</summary>
    public void SetVirtualWire()
    {
        _spurious = SvrEnable | 0xFF;
        _lvt[LvtLint0] = (uint)DeliveryMode.ExtInt << 8;
        _lvt[LvtLint1] = (uint)DeliveryMode.Nmi << 8;
        Update();
    }

    /// <summary>Takes a message if this APIC is among its destinations; false if it is not.</summary>
    public bool Accept(in InterruptMessage message)
    {
        if (!GloballyEnabled || !IsDestination(message.Destination, message.Logical))
        {
            return false;
        }

        switch (message.Mode)
        {
            case DeliveryMode.Fixed:
            case DeliveryMode.LowestPriority:
                Request(message.Vector, message.Level);
                break;
            case DeliveryMode.Nmi:
                NonMaskableInterrupt?.Invoke();
                break;
        }

        // SMI has no SMM to go to, INIT and start-up concern CPUs this machine does not have, and ExtINT
        // messages come in through LINT0.
        return true;
    }

    /// <summary>INTA for the APIC: the vector to deliver, or -1 if none is ready.</summary>
    public int Acknowledge()
    {
        if (!InterruptReady)
        {
            return -1;
        }

        int vector = _irr.Highest();
        _irr.Clear(vector);
        _isr.Set(vector);
        Update();
        return vector;
    }

    /// <summary>Reads <see cref="BaseMsr"/> or <see cref="TscDeadlineMsr"/>.</summary>
    public bool TryReadMsr(uint index, out ulong value)
    {
        value = index == BaseMsr ? _base : _timer.TscDeadline;
        return index is BaseMsr or TscDeadlineMsr;
    }

    /// <summary>Writes <see cref="BaseMsr"/> or <see cref="TscDeadlineMsr"/>.</summary>
    public MsrResult WriteMsr(uint index, ulong value)
    {
        switch (index)
        {
            case BaseMsr:
                return WriteBase(value);
            case TscDeadlineMsr:
                _timer.TscDeadline = value;
                return MsrResult.Written;
            default:
                return MsrResult.NotHandled;
        }
    }

    /// <inheritdoc/>
    public ulong ReadMmio(ulong offset, int size)
    {
        // Registers are 32 bits wide on 16-byte boundaries; anything else is undefined (11.4.1) and reads as
        // zero.
        int shift = (int)(offset & 15) * 8;
        return shift < 32 ? ReadRegister((int)(offset >> 4)) >> shift : 0;
    }

    /// <inheritdoc/>
    public void WriteMmio(ulong offset, int size, ulong value)
    {
        if ((offset & 15) == 0 && size >= 4)
        {
            WriteRegister((int)(offset >> 4), (uint)value);
        }
    }

    /// <inheritdoc/>
    public void Save(BinaryWriter writer)
    {
        writer.Write(_base);
        writer.Write([_id, _taskPriority, _logicalId]);
        foreach (uint word in _lvt)
        {
            writer.Write(word);
        }

        uint[] words = [_destinationFormat, _spurious, _errors, _errorsShown, _commandLow, _commandHigh];
        foreach (uint word in words)
        {
            writer.Write(word);
        }

        _irr.Save(writer);
        _isr.Save(writer);
        _tmr.Save(writer);
        _timer.Save(writer);
    }

    /// <inheritdoc/>
    public void Restore(BinaryReader reader)
    {
        SetBase(reader.ReadUInt64() & (BaseAddressMask | BaseEnable | BaseBootCpu));
        _id = reader.ReadByte();
        _taskPriority = reader.ReadByte();
        _logicalId = reader.ReadByte();
        for (int i = 0; i < _lvt.Length; i++)
        {
            _lvt[i] = reader.ReadUInt32() & LvtWritable[i];
        }

        _destinationFormat = reader.ReadUInt32();
        _spurious = reader.ReadUInt32();
        _errors = reader.ReadUInt32();
        _errorsShown = reader.ReadUInt32();
        _commandLow = reader.ReadUInt32();
        _commandHigh = reader.ReadUInt32();
        _irr.Restore(reader);
        _isr.Restore(reader);
        _tmr.Restore(reader);
        _timer.SetLvt(_lvt[LvtTimer]);
        _timer.Restore(reader);
        Update();
    }

    private void ResetRegisters()
    {
        _id = _hardwareId;
        _taskPriority = 0;
        _logicalId = 0;
        _destinationFormat = uint.MaxValue;
        _spurious = 0xFF;
        _errors = 0;
        _errorsShown = 0;
        _commandLow = 0;
        _commandHigh = 0;
        _irr = default;
        _isr = default;
        _tmr = default;
        Array.Fill(_lvt, LvtMasked);
        _timer.Reset();
        Update();
    }

    private void Update()
    {
        int vector = _irr.Highest();
        InterruptReady = vector >= 0 && SoftwareEnabled && GloballyEnabled
            && (vector & 0xF0) > (ProcessorPriority & 0xF0);
    }

    private uint ReadRegister(int register)
    {
        switch (register)
        {
            case 0x02:
                return (uint)_id << 24;
            case 0x03:
                return VersionValue;
            case 0x08:
                return _taskPriority;
            case 0x09:
            case 0x0A:
                // With one CPU the arbitration priority is the processor priority.
                return ProcessorPriority;
            case 0x0D:
                return (uint)_logicalId << 24;
            case 0x0E:
                return _destinationFormat;
            case 0x0F:
                return _spurious;
            case >= 0x10 and <= 0x17:
                return _isr.Word(register & 7);
            case >= 0x18 and <= 0x1F:
                return _tmr.Word(register & 7);
            case >= 0x20 and <= 0x27:
                return _irr.Word(register & 7);
            case 0x28:
                return _errorsShown;
            case 0x30:
                return _commandLow;
            case 0x31:
                return _commandHigh;
            case >= 0x32 and <= 0x37:
                return _lvt[register - 0x32];
            case 0x38:
                return _timer.InitialCount;
            case 0x39:
                return _timer.CurrentCount;
            case 0x3E:
                return _timer.Divide;
            case 0x0B or 0x0C or 0x2F:
                // EOI is write-only; remote read and CMCI are not there, but reading them is no error.
                return 0;
            default:
                RaiseError(ErrorIllegalRegister);
                return 0;
        }
    }

    private void WriteRegister(int register, uint value)
    {
        switch (register)
        {
            case 0x02:
                _id = (byte)(value >> 24);
                break;
            case 0x08:
                _taskPriority = (byte)value;
                Update();
                break;
            case 0x0B:
                EndService();
                break;
            case 0x0D:
                _logicalId = (byte)(value >> 24);
                break;
            case 0x0E:
                _destinationFormat = value | 0x0FFF_FFFF;
                break;
            case 0x0F:
                WriteSpurious(value);
                break;
            case 0x28:
                // A write moves what has been collected into sight (11.5.3).
                _errorsShown = _errors;
                _errors = 0;
                break;
            case 0x30:
                _commandLow = value & 0x000C_CFFF;
                SendCommand();
                break;
            case 0x31:
                _commandHigh = value & 0xFF00_0000;
                break;
            case >= 0x32 and <= 0x37:
                WriteLvt(register - 0x32, value);
                break;
            case 0x38:
                _timer.InitialCount = value;
                break;
            case 0x3E:
                _timer.Divide = value & 0x0B;
                break;
            case 0x03 or 0x09 or 0x0A or 0x0C or 0x39 or 0x2F or (>= 0x10 and <= 0x27):
                break;
            default:
                RaiseError(ErrorIllegalRegister);
                break;
        }
    }

    // Clearing the enable bit masks all local vectors and keeps them so until it is set again (11.4.7.2).
    private void WriteSpurious(uint value)
    {
        _spurious = value & 0x3FF;
        if (!SoftwareEnabled)
        {
            for (int i = 0; i < _lvt.Length; i++)
            {
                _lvt[i] |= LvtMasked;
            }

            _timer.SetLvt(_lvt[LvtTimer]);
        }

        Update();
    }

    private void WriteLvt(int entry, uint value)
    {
        value &= LvtWritable[entry];
        _lvt[entry] = SoftwareEnabled ? value : value | LvtMasked;
        if (entry == LvtTimer)
        {
            _timer.SetLvt(_lvt[entry]);
        }
    }

    private void EndService()
    {
        int vector = _isr.Highest();
        if (vector < 0)
        {
            return;
        }

        _isr.Clear(vector);
        Update();
        if (_tmr.Contains(vector))
        {
            EndOfInterrupt?.Invoke((byte)vector);
        }
    }

    private void SendCommand()
    {
        InterruptMessage message = new(
            (byte)(_commandHigh >> 24), (_commandLow & 0x800) != 0, (DeliveryMode)((_commandLow >> 8) & 7),
            (byte)_commandLow, Level: false);
        bool toSelf = ((_commandLow >> 18) & 3) switch
        {
            0 => IsDestination(message.Destination, message.Logical),
            3 => false,
            _ => true,
        };

        if (message.Mode is DeliveryMode.Fixed or DeliveryMode.LowestPriority && message.Vector < 16)
        {
            RaiseError(ErrorSendIllegal);
        }
        else if (toSelf)
        {
            Accept(message with { Destination = 0xFF, Logical = false });
        }
    }

    // Flat model: the logical id is a bit set. Cluster model: four clusters' worth of number, four bits of
    // members.
    private bool IsDestination(byte destination, bool logical)
    {
        if (destination == 0xFF)
        {
            return true;
        }

        if (!logical)
        {
            return destination == _id;
        }

        return _destinationFormat >> 28 == 0xF
            ? (destination & _logicalId) != 0
            : (destination >> 4) == (_logicalId >> 4) && (destination & _logicalId & 0x0F) != 0;
    }

    private void Request(byte vector, bool level)
    {
        if (vector < 16)
        {
            RaiseError(ErrorReceiveIllegal);
            return;
        }

        if (!SoftwareEnabled)
        {
            return;
        }

        _irr.Set(vector);
        if (level)
        {
            _tmr.Set(vector);
        }
        else
        {
            _tmr.Clear(vector);
        }

        Update();
    }

    private void RaiseError(uint bit)
    {
        _errors |= bit;
        if ((_lvt[LvtError] & LvtMasked) == 0 && (byte)_lvt[LvtError] >= 16)
        {
            Request((byte)_lvt[LvtError], level: false);
        }
    }

    private void TimerFired()
    {
        if ((_lvt[LvtTimer] & LvtMasked) == 0)
        {
            Request((byte)_lvt[LvtTimer], level: false);
        }
    }

    // x2APIC (bit 10) is not offered; a BSP bit written differently is kept, as on hardware.
    private MsrResult WriteBase(ulong value)
    {
        if ((value & ~(BaseAddressMask | BaseEnable | BaseBootCpu)) != 0)
        {
            return MsrResult.GeneralProtection;
        }

        bool wasEnabled = GloballyEnabled;
        SetBase(value);
        if (wasEnabled && !GloballyEnabled)
        {
            ResetRegisters();
        }

        Update();
        return MsrResult.Written;
    }

    private void SetBase(ulong value)
    {
        _base = value;
        if (Window != null)
        {
            Window.Start = value & BaseAddressMask;
            Window.Enabled = (value & BaseEnable) != 0;
        }
    }
}
