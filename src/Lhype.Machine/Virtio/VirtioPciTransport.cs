// A virtio device on the PCI bus, modern interface only (virtio 1.2, 4.1). Built by MachineBuilder for each
// device and plugged into the host bridge. There is no firmware: the BARs come with addresses from the window
// the builder chose; a guest may move them. BAR 0 holds the four register blocks, BAR 1 the MSI-X table.

using System;
using System.IO;
using Lhype.Host;
using Lhype.Machine.Bus;
using Lhype.Machine.Pci;

namespace Lhype.Machine.Virtio;

/// <summary>The virtio-pci function around one <see cref="VirtioDevice"/>.</summary>
public sealed class VirtioPciTransport : IPciFunction, IMmioDevice, IVirtioTransport, ISaveable
{
    /// <summary>Bytes of guest-physical window the BARs take, and their alignment.</summary>
    public const uint WindowBytes = 0x8000;

    /// <summary>Bits of device_status (2.1).</summary>
    private const byte Acknowledge = 1, Driver = 2, DriverOk = 4, FeaturesOk = 8, NeedsReset = 64,
        Failed = 128;

    private const ushort NoVector = 0xFFFF;
    private const byte IsrQueue = 1, IsrConfig = 2;
    private const uint RegistersLength = 0x4000;
    private const uint IsrOffset = 0x1000, DeviceOffset = 0x2000, NotifyOffset = 0x3000;
    private const uint CommonLength = 0x40;
    private const uint NotifyMultiplier = 4;
    private const ulong TransportFeatures =
        (1UL << VirtioFeature.IndirectDesc) | (1UL << VirtioFeature.EventIdx)
        | (1UL << VirtioFeature.Version1);

    private readonly VirtioDevice _device;
    private readonly IPciInterrupts _interrupts;
    private readonly PciConfigSpace _config;
    private readonly MsixTable? _msix;
    private readonly MmioRange _registers;
    private readonly MmioRange? _msixRange;
    private readonly ushort[] _queueVectors;
    private int _msixCapability;
    private int _windowCapability;

    private uint _deviceFeatureSelect;
    private uint _driverFeatureSelect;
    private ulong _driverFeatures;
    private ushort _configVector = NoVector;
    private ushort _queueSelect;
    private byte _status;
    private byte _generation;
    private byte _isr;

    /// <summary>Puts <paramref name="device"/> behind a PCI function whose BARs start at
    /// <paramref name="windowStart"/> (below 4 GiB, a multiple of <see cref="WindowBytes"/>).
    /// <paramref name="interruptLine"/> is what configuration byte 3C shows: the PIC input of
    /// INTA#.</summary>
    public VirtioPciTransport(
        VirtioDevice device, AddressBus bus, IPciInterrupts interrupts, uint windowStart, byte interruptLine)
    {
        Invariant.Check(windowStart % WindowBytes == 0, "a virtio window is not aligned");
        _device = device;
        _interrupts = interrupts;
        _msix = interrupts.TakesMessages ? new MsixTable(device.Queues.Length + 1, interrupts) : null;
        _queueVectors = new ushort[device.Queues.Length];
        Array.Fill(_queueVectors, NoVector);

        // Revision 1 and a subsystem from 0x40 up keep legacy drivers away (4.1.2.1).
        _config = new PciConfigSpace(0x1AF4, (ushort)(0x1040 + device.Type), 1, device.ClassCode, 0x40);
        _config.Set(PciConfigSpace.InterruptLine, 1, interruptLine);
        _config.AddBar(0, windowStart, RegistersLength);
        AddCapabilities();

        _registers = bus.AddMmio(windowStart, RegistersLength, this);
        if (_msix != null)
        {
            uint tableStart = windowStart + RegistersLength;
            _config.AddBar(1, tableStart, MsixTable.BarLength);
            AddMsixCapability(_msix);
            _msixRange = bus.AddMmio(tableStart, MsixTable.BarLength, _msix);
        }

        ApplyCommand();
        device.Attach(this);
    }

    /// <summary>Why the device last set DEVICE_NEEDS_RESET, or null.</summary>
    public string? FailReason { get; private set; }

    /// <inheritdoc/>
    public bool Running =>
        (_status & (DriverOk | NeedsReset)) == DriverOk && CommandHas(PciConfigSpace.CommandBusMaster);

    /// <inheritdoc/>
    public ulong Features => (_status & FeaturesOk) != 0 ? _driverFeatures : 0;

    private ulong OfferedFeatures => TransportFeatures | _device.DeviceFeatures;

    /// <inheritdoc/>
    public uint ReadConfig(int offset, int size)
    {
        // Reading pci_cfg_data reads the BAR where the window points (4.1.4.9).
        if (offset == _windowCapability + 16 && TryGetWindow(out uint at, out int length))
        {
            _config.Set(offset, 4, (uint)ReadMmio(at, length));
        }

        return _config.Read(offset, size);
    }

    /// <inheritdoc/>
    public void WriteConfig(int offset, int size, uint value)
    {
        bool wasRunning = Running;
        _config.Write(offset, size, value);
        ApplyCommand();
        if (offset == _windowCapability + 16 && TryGetWindow(out uint at, out int length))
        {
            WriteMmio(at, length, _config.Read(offset, 4));
        }

        uint control = _config.Read(_msixCapability + 2, 2);
        _msix?.SetControl((control & 0x8000) != 0, (control & 0x4000) != 0);
        UpdateIntx();
        if (Running && !wasRunning)
        {
            NotifyAll();
        }
    }

    /// <inheritdoc/>
    public ulong ReadMmio(ulong offset, int size)
    {
        // Nothing but the ISR has a read side effect, so any access is served byte by byte.
        ulong value = 0;
        for (int i = 0; i < size; i++)
        {
            value |= (ulong)ReadByte((uint)offset + (uint)i) << (8 * i);
        }

        return value;
    }

    /// <inheritdoc/>
    public void WriteMmio(ulong offset, int size, ulong value)
    {
        uint at = (uint)offset;
        if (at >= NotifyOffset)
        {
            uint queue = (at - NotifyOffset) / NotifyMultiplier;
            if (queue < (uint)_device.Queues.Length)
            {
                _device.Notify((int)queue);
            }
        }
        else if (at >= DeviceOffset)
        {
            if (at - DeviceOffset < (uint)_device.ConfigBytes && size <= 4)
            {
                _device.WriteConfig((int)(at - DeviceOffset), size, (uint)value);
            }
        }
        else if (at < CommonLength)
        {
            WriteCommon(at, size, value);
        }
    }

    /// <inheritdoc/>
    public void InterruptQueue(int index)
    {
        if (_msix is { Enabled: true })
        {
            _msix.Fire(_queueVectors[index]);
            return;
        }

        _isr |= IsrQueue;
        UpdateIntx();
    }

    /// <inheritdoc/>
    public void ConfigChanged()
    {
        _generation++;
        if ((_status & DriverOk) != 0)
        {
            InterruptConfig();
        }
    }

    /// <inheritdoc/>
    public void Fail(string reason)
    {
        if ((_status & NeedsReset) != 0)
        {
            return;
        }

        FailReason = reason;
        _status |= NeedsReset;
        if ((_status & DriverOk) != 0)
        {
            InterruptConfig();
        }
    }

    /// <inheritdoc/>
    public void Save(BinaryWriter writer)
    {
        _config.Save(writer);
        _msix?.Save(writer);
        writer.Write(_deviceFeatureSelect);
        writer.Write(_driverFeatureSelect);
        writer.Write(_driverFeatures);
        writer.Write(_configVector);
        writer.Write(_queueSelect);
        writer.Write(_status);
        writer.Write(_generation);
        writer.Write(_isr);
        for (int i = 0; i < _queueVectors.Length; i++)
        {
            writer.Write(_queueVectors[i]);
            _device.Queues[i].Save(writer);
        }

        _device.Save(writer);
    }

    /// <inheritdoc/>
    public void Restore(BinaryReader reader)
    {
        ResetDevice();
        _config.Restore(reader);
        _msix?.Restore(reader);
        _deviceFeatureSelect = reader.ReadUInt32();
        _driverFeatureSelect = reader.ReadUInt32();
        _driverFeatures = reader.ReadUInt64();
        _configVector = CheckVector(reader.ReadUInt16());
        _queueSelect = reader.ReadUInt16();
        byte status = reader.ReadByte();
        _generation = reader.ReadByte();
        _isr = reader.ReadByte();
        for (int i = 0; i < _queueVectors.Length; i++)
        {
            _queueVectors[i] = CheckVector(reader.ReadUInt16());
            _device.Queues[i].Restore(reader);
        }

        if ((status & FeaturesOk) != 0 && !FeaturesAcceptable())
        {
            throw new InvalidDataException("A saved virtio device uses features this one does not have.");
        }

        _status = status;
        _device.Restore(reader);
        ApplyCommand();
        UpdateIntx();
        NotifyAll();
    }

    private void AddCapabilities()
    {
        AddVirtioCapability(1, 16, 0, CommonLength);
        int notify = AddVirtioCapability(2, 20, NotifyOffset, NotifyMultiplier * (uint)_device.Queues.Length);
        _config.Set(notify + 16, 4, NotifyMultiplier);
        AddVirtioCapability(3, 16, IsrOffset, 1);
        if (_device.ConfigBytes != 0)
        {
            AddVirtioCapability(4, 16, DeviceOffset, (uint)_device.ConfigBytes);
        }

        // The window through which a driver reaches BAR 0 without mapping it: bar, offset, length and data
        // are its.
        _windowCapability = AddVirtioCapability(5, 20, 0, 0);
        _config.Set(_windowCapability + 4, 1, 0, 0xFF);
        _config.Set(_windowCapability + 8, 4, 0, uint.MaxValue);
        _config.Set(_windowCapability + 12, 4, 0, uint.MaxValue);
        _config.Set(_windowCapability + 16, 4, 0, uint.MaxValue);
    }

    private void AddMsixCapability(MsixTable msix)
    {
        _msixCapability = _config.AddCapability(0x11, 12);
        _config.Set(_msixCapability + 2, 2, (uint)msix.Vectors - 1, 0xC000);
        _config.Set(_msixCapability + 4, 4, 1);
        _config.Set(_msixCapability + 8, 4, MsixTable.PendingOffset | 1);
    }

    private int AddVirtioCapability(byte kind, int length, uint offset, uint structureLength)
    {
        int at = _config.AddCapability(0x09, length);
        _config.Set(at + 2, 1, (uint)length);
        _config.Set(at + 3, 1, kind);
        _config.Set(at + 8, 4, offset);
        _config.Set(at + 12, 4, structureLength);
        return at;
    }

    private bool TryGetWindow(out uint at, out int length)
    {
        at = _config.Read(_windowCapability + 8, 4);
        uint wanted = _config.Read(_windowCapability + 12, 4);
        length = (int)wanted;
        return _config.Read(_windowCapability + 4, 1) == 0 && wanted is 1 or 2 or 4
            && at % wanted == 0 && at < RegistersLength;
    }

    private bool CommandHas(ushort bit) => (_config.Read(PciConfigSpace.Command, 2) & bit) != 0;

    private void ApplyCommand()
    {
        bool decode = CommandHas(PciConfigSpace.CommandMemory);
        _registers.Start = _config.BarAddress(0);
        _registers.Enabled = decode;
        if (_msixRange != null)
        {
            _msixRange.Start = _config.BarAddress(1);
            _msixRange.Enabled = decode;
        }
    }

    private byte ReadByte(uint at)
    {
        if (at < CommonLength)
        {
            return (byte)(ReadCommon((int)(at / 4)) >> (int)(8 * (at % 4)));
        }

        if (at == IsrOffset)
        {
            // Reading acknowledges (4.1.4.5).
            byte isr = _isr;
            _isr = 0;
            UpdateIntx();
            return isr;
        }

        bool inDevice = at is >= DeviceOffset and < NotifyOffset;
        return inDevice ? _device.ReadConfig((int)(at - DeviceOffset)) : (byte)0;
    }

    /// <summary>One 32-bit word of the common configuration structure (4.1.4.3).</summary>
    private uint ReadCommon(int word)
    {
        Virtqueue? queue = SelectedQueue();
        return word switch
        {
            0 => _deviceFeatureSelect,
            1 => Half(OfferedFeatures, _deviceFeatureSelect),
            2 => _driverFeatureSelect,
            3 => Half(_driverFeatures, _driverFeatureSelect),
            4 => _configVector | ((uint)_queueVectors.Length << 16),
            5 => _status | ((uint)_generation << 8) | ((uint)_queueSelect << 16),
            6 when queue != null => (uint)queue.Size | ((uint)_queueVectors[_queueSelect] << 16),
            6 => (uint)NoVector << 16,
            7 => queue == null ? 0 : (queue.Enabled ? 1U : 0) | ((uint)_queueSelect << 16),
            8 or 9 => Half(queue?.DescriptorArea ?? 0, (uint)word - 8),
            10 or 11 => Half(queue?.DriverArea ?? 0, (uint)word - 10),
            12 or 13 => Half(queue?.DeviceArea ?? 0, (uint)word - 12),
            14 => queue == null ? 0U : _queueSelect,
            _ => 0,
        };
    }

    /// <summary>Writes one field. Drivers must use a field's own width (4.1.3.1); other accesses do
    /// nothing.</summary>
    private void WriteCommon(uint at, int size, ulong value)
    {
        Virtqueue? queue = SelectedQueue();
        switch (at, size)
        {
            case (0x00, 4):
                _deviceFeatureSelect = (uint)value;
                break;
            case (0x08, 4):
                _driverFeatureSelect = (uint)value;
                break;
            case (0x0C, 4):
                SelectDriverFeatures((uint)value);
                break;
            case (0x10, 2):
                _configVector = CheckVector((ushort)value);
                break;
            case (0x14, 1):
                WriteStatus((byte)value);
                break;
            case (0x16, 2):
                _queueSelect = (ushort)value;
                break;
            case (0x18, 2):
                queue?.SetSize((uint)value);
                break;
            case (0x1A, 2) when queue != null:
                _queueVectors[_queueSelect] = CheckVector((ushort)value);
                break;
            case (0x1C, 2) when value == 1:
                queue?.Enable();
                break;
            case ( >= 0x20 and < 0x38, 4) when at % 4 == 0:
                int shift = (int)(at & 4) * 8;
                ulong keep = ~((ulong)uint.MaxValue << shift);
                queue?.SetAddress((VirtqueueArea)((at - 0x20) / 8), keep, value << shift);
                break;
            case ( >= 0x20 and < 0x38, 8) when at % 8 == 0:
                queue?.SetAddress((VirtqueueArea)((at - 0x20) / 8), 0, value);
                break;
            default:
                break;
        }
    }

    private void SelectDriverFeatures(uint value)
    {
        if ((_status & FeaturesOk) != 0 || _driverFeatureSelect > 1)
        {
            return;
        }

        int shift = (int)_driverFeatureSelect * 32;
        _driverFeatures = (_driverFeatures & ~((ulong)uint.MaxValue << shift)) | ((ulong)value << shift);
    }

    private void WriteStatus(byte value)
    {
        if (value == 0)
        {
            ResetDevice();
            UpdateIntx();
            return;
        }

        // Bits are only ever added (2.1.1). FEATURES_OK stays clear for a set we cannot serve (3.1.1), and
        // DRIVER_OK without it would be a legacy driver.
        int added = value & (Acknowledge | Driver | DriverOk | FeaturesOk | Failed) & ~_status;
        if ((added & FeaturesOk) != 0 && !FeaturesAcceptable())
        {
            added &= ~FeaturesOk;
        }

        if (((_status | added) & FeaturesOk) == 0)
        {
            added &= ~DriverOk;
        }

        _status |= (byte)added;
        if ((added & DriverOk) != 0)
        {
            if ((_status & NeedsReset) != 0)
            {
                InterruptConfig();
            }

            NotifyAll();
        }
    }

    private bool FeaturesAcceptable() =>
        (_driverFeatures & ~OfferedFeatures) == 0 && ((_driverFeatures >> VirtioFeature.Version1) & 1) != 0;

    private void ResetDevice()
    {
        _status = 0;
        _isr = 0;
        _driverFeatures = 0;
        _deviceFeatureSelect = 0;
        _driverFeatureSelect = 0;
        _queueSelect = 0;
        _configVector = NoVector;
        Array.Fill(_queueVectors, NoVector);
        FailReason = null;
        _device.Reset();
    }

    private void InterruptConfig()
    {
        _isr |= IsrConfig;
        _msix?.Fire(_configVector);
        UpdateIntx();
    }

    private void UpdateIntx()
    {
        uint status = PciConfigSpace.StatusCapabilities;
        if (_isr != 0)
        {
            status |= PciConfigSpace.StatusInterrupt;
        }

        _config.Set(PciConfigSpace.Status, 2, status);
        bool pin = _msix is not { Enabled: true } && !CommandHas(PciConfigSpace.CommandIntxDisable);
        _interrupts.SetIntx(pin && _isr != 0);
    }

    private void NotifyAll()
    {
        for (int i = 0; i < _queueVectors.Length; i++)
        {
            _device.Notify(i);
        }
    }

    private Virtqueue? SelectedQueue() =>
        _queueSelect < _device.Queues.Length ? _device.Queues[_queueSelect] : null;

    private ushort CheckVector(ushort vector) => vector < _msix?.Vectors ? vector : NoVector;

    private static uint Half(ulong value, uint select) =>
        select > 1 ? 0 : (uint)(value >> (int)(32 * select));
}
