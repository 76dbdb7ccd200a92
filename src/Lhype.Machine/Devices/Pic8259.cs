// The PC/AT's two cascaded 8259A interrupt controllers with the EISA edge/level registers. InterruptRouter
// drives the sixteen inputs; the guest programs them at 20/21, A0/A1 and 4D0/4D1; the machine asks Intr and
// Acknowledge on the vCPU's INTA. Sources: Intel 8259A data sheet (order 231468), 82371SB data sheet for the
// ELCRs.

using System.IO;
using System.Numerics;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Devices;

/// <summary>A master and a slave 8259A, the slave on the master's input 2.</summary>
public sealed class Pic8259 : IPortDevice, ISaveable
{
    private const int CascadeInput = 2;
    private const int SpuriousInput = 7;

    private readonly Chip _master = new(elcrWritable: 0xF8);
    private readonly Chip _slave = new(elcrWritable: 0xDE);

    /// <summary>True while the master's INT output is high. Kept up to date, so reading it is free.</summary>
    public bool Intr { get; private set; }

    /// <summary>Claims the ports of both chips and of the edge/level registers.</summary>
    public void Attach(AddressBus bus)
    {
        bus.AddBytePorts(MemoryMap.PicMasterPort, 2, this);
        bus.AddBytePorts(MemoryMap.PicSlavePort, 2, this);
        bus.AddBytePorts(MemoryMap.ElcrPort, 2, this);
    }

    /// <summary>Makes inputs level-triggered as firmware does for PCI lines before an operating system
    /// starts: bit n of <paramref name="irqs"/> is IRQ n.</summary>
    public void SetLevelTriggered(ushort irqs)
    {
        _master.WriteElcr((byte)irqs);
        _slave.WriteElcr((byte)(irqs >> 8));
        Update();
    }

    /// <summary>Back to the state after power-on: nothing is delivered until ICW1-4 have been
    /// written.</summary>
    public void Reset()
    {
        _master.PowerOn();
        _slave.PowerOn();
        Update();
    }

    /// <summary>Drives input <paramref name="irq"/> (0-15). An edge-triggered request stays latched when the
    /// line falls again, so a short pulse is never lost.</summary>
    public void SetIrq(int irq, bool level)
    {
        (irq < 8 ? _master : _slave).SetLine(irq & 7, level);
        Update();
    }

    /// <summary>The two INTA cycles: the vector to deliver. If the request has gone meanwhile, the spurious
    /// vector of input 7 (data sheet, "Edge and level triggered modes").</summary>
    public byte Acknowledge()
    {
        int input = _master.HighestPending();
        byte vector;
        if (input < 0)
        {
            vector = _master.Vector(SpuriousInput);
        }
        else if (input != CascadeInput)
        {
            _master.BeginService(input);
            vector = _master.Vector(input);
        }
        else
        {
            // The master always marks its input 2 in service, even if the slave has only a spurious 7 to
            // give: the handler must then send an EOI to the master alone.
            _master.BeginService(CascadeInput);
            int slaveInput = _slave.HighestPending();
            if (slaveInput >= 0)
            {
                _slave.BeginService(slaveInput);
            }

            vector = _slave.Vector(slaveInput >= 0 ? slaveInput : SpuriousInput);
        }

        Update();
        return vector;
    }

    /// <inheritdoc/>
    public uint ReadPort(ushort port, int size)
    {
        switch (port)
        {
            case MemoryMap.ElcrPort:
                return _master.Elcr;
            case MemoryMap.ElcrPort + 1:
                return _slave.Elcr;
            default:
                uint value = ChipAt(port).Read((port & 1) != 0);
                Update();
                return value;
        }
    }

    /// <inheritdoc/>
    public void WritePort(ushort port, int size, uint value)
    {
        switch (port)
        {
            case MemoryMap.ElcrPort:
                _master.WriteElcr((byte)value);
                break;
            case MemoryMap.ElcrPort + 1:
                _slave.WriteElcr((byte)value);
                break;
            default:
                ChipAt(port).Write((port & 1) != 0, (byte)value);
                break;
        }

        Update();
    }

    /// <inheritdoc/>
    public void Save(BinaryWriter writer)
    {
        _master.Save(writer);
        _slave.Save(writer);
    }

    /// <inheritdoc/>
    public void Restore(BinaryReader reader)
    {
        _master.Restore(reader);
        _slave.Restore(reader);
        Update();
    }

    private Chip ChipAt(ushort port) => port < MemoryMap.PicSlavePort ? _master : _slave;

    // The cascade wire has no latch of its own here: the master sees the slave's INT as it is now. A real
    // slave drops INT at every INTA to make fresh edges for the master; following the level has the same
    // effect.
    private void Update()
    {
        _master.SetCascade(CascadeInput, _slave.HighestPending() >= 0);
        Intr = _master.HighestPending() >= 0;
    }

    /// <summary>One 8259A.</summary>
    private sealed class Chip
    {
        private readonly byte _elcrWritable;
        private byte _lines;
        private byte _irr;
        private byte _isr;
        private byte _imr;
        private byte _vectorBase;
        private byte _lowestPriority = 7;
        private byte _initStep;
        private bool _icw4Wanted;
        private bool _single;
        private bool _allLevel;
        private bool _autoEoi;
        private bool _rotateOnAutoEoi;
        private bool _specialMask;
        private bool _specialFullyNested;
        private bool _readIsr;
        private bool _poll;
        private byte _cascadeInput = byte.MaxValue;
        private bool _cascade;

        public Chip(byte elcrWritable)
        {
            _elcrWritable = elcrWritable;
            PowerOn();
        }

        public byte Elcr { get; private set; }

        private byte LevelInputs => _allLevel ? byte.MaxValue : Elcr;

        // Everything asking now: latched edges, high level inputs, the cascade.
        private byte Requests =>
            (byte)((_irr & ~LevelInputs) | (_lines & LevelInputs) | (_cascade ? 1 << _cascadeInput : 0));

        public void PowerOn()
        {
            Elcr = 0;
            Initialise();
            _imr = byte.MaxValue;
            _initStep = 0;
            _vectorBase = 0;
        }

        // An input that becomes edge-triggered keeps a request only if its line is high now: what its edges
        // latched while they did not count is forgotten.
        public void WriteElcr(byte value)
        {
            byte level = LevelInputs;
            Elcr = (byte)(value & _elcrWritable);
            int changed = level & ~LevelInputs;
            _irr = (byte)((_irr & ~changed) | (_lines & changed));
        }

        public void SetLine(int input, bool level)
        {
            byte bit = (byte)(1 << input);
            if (!level)
            {
                _lines &= (byte)~bit;
                return;
            }

            if ((_lines & bit) == 0)
            {
                _irr |= bit;
            }

            _lines |= bit;
        }

        public void SetCascade(int input, bool level)
        {
            _cascadeInput = (byte)input;
            _cascade = level;
        }

        public byte Vector(int input) => (byte)(_vectorBase | input);

        /// <summary>The input whose request would be acknowledged now, or -1.</summary>
        public int HighestPending()
        {
            if (_initStep != 0)
            {
                return -1;
            }

            int asking = Requests & ~_imr;
            if (asking == 0)
            {
                return -1;
            }

            // In special mask mode a masked level in service blocks nobody; in special fully nested mode the
            // slave may interrupt its own earlier request.
            int servingRank = Rank(_specialMask ? _isr & ~_imr : _isr);
            int rank = Rank(asking);
            bool nested = _specialFullyNested && rank == servingRank && Input(rank) == _cascadeInput;
            return rank < servingRank || nested ? Input(rank) : -1;
        }

        public void BeginService(int input)
        {
            byte bit = (byte)(1 << input);
            _irr &= (byte)~bit;
            if (!_autoEoi)
            {
                _isr |= bit;
            }
            else if (_rotateOnAutoEoi)
            {
                _lowestPriority = (byte)input;
            }
        }

        public byte Read(bool dataPort)
        {
            if (_poll)
            {
                _poll = false;
                int input = HighestPending();
                if (input < 0)
                {
                    return 0;
                }

                BeginService(input);
                return (byte)(0x80 | input);
            }

            return dataPort ? _imr : _readIsr ? _isr : Requests;
        }

        public void Write(bool dataPort, byte value)
        {
            if (!dataPort)
            {
                WriteCommand(value);
                return;
            }

            switch (_initStep)
            {
                case 2:
                    _vectorBase = (byte)(value & 0xF8);
                    _initStep = (byte)(!_single ? 3 : _icw4Wanted ? 4 : 0);
                    break;
                case 3:
                    // ICW3 tells how the chips are wired; the wiring of this board is fixed.
                    _initStep = (byte)(_icw4Wanted ? 4 : 0);
                    break;
                case 4:
                    _specialFullyNested = (value & 0x10) != 0;
                    _autoEoi = (value & 0x02) != 0;
                    _initStep = 0;
                    break;
                default:
                    _imr = value;
                    break;
            }
        }

        public void Save(BinaryWriter writer)
        {
            writer.Write([Elcr, _lines, _irr, _isr, _imr, _vectorBase, _lowestPriority, _initStep]);
            bool[] flags = [_icw4Wanted, _single, _allLevel, _autoEoi, _rotateOnAutoEoi, _specialMask,
                _specialFullyNested, _readIsr, _poll];
            foreach (bool flag in flags)
            {
                writer.Write(flag);
            }
        }

        public void Restore(BinaryReader reader)
        {
            Elcr = (byte)(reader.ReadByte() & _elcrWritable);
            _lines = reader.ReadByte();
            _irr = reader.ReadByte();
            _isr = reader.ReadByte();
            _imr = reader.ReadByte();
            _vectorBase = (byte)(reader.ReadByte() & 0xF8);
            _lowestPriority = reader.ReadByte();
            _initStep = reader.ReadByte();
            if (_lowestPriority > 7 || _initStep > 4)
            {
                throw new InvalidDataException("The saved 8259 state is not valid.");
            }

            _icw4Wanted = reader.ReadBoolean();
            _single = reader.ReadBoolean();
            _allLevel = reader.ReadBoolean();
            _autoEoi = reader.ReadBoolean();
            _rotateOnAutoEoi = reader.ReadBoolean();
            _specialMask = reader.ReadBoolean();
            _specialFullyNested = reader.ReadBoolean();
            _readIsr = reader.ReadBoolean();
            _poll = reader.ReadBoolean();
        }

        private void WriteCommand(byte value)
        {
            if ((value & 0x10) != 0)
            {
                Initialise();
                _icw4Wanted = (value & 0x01) != 0;
                _single = (value & 0x02) != 0;
                _allLevel = (value & 0x08) != 0;
                _initStep = 2;
            }
            else if ((value & 0x08) != 0)
            {
                WriteOcw3(value);
            }
            else
            {
                WriteOcw2(value);
            }
        }

        // ICW1 clears the edge latches, so that an input must fall and rise again to ask.
        private void Initialise()
        {
            _irr = 0;
            _isr = 0;
            _imr = 0;
            _lowestPriority = 7;
            _allLevel = false;
            _autoEoi = false;
            _rotateOnAutoEoi = false;
            _specialMask = false;
            _specialFullyNested = false;
            _readIsr = false;
            _poll = false;
        }

        private void WriteOcw2(byte value)
        {
            int input = value & 7;
            switch (value >> 5)
            {
                case 0:
                    _rotateOnAutoEoi = false;
                    break;
                case 4:
                    _rotateOnAutoEoi = true;
                    break;
                case 1 or 5:
                    int rank = Rank(_specialMask ? _isr & ~_imr : _isr);
                    if (rank < 8)
                    {
                        EndService(Input(rank), rotate: (value & 0x80) != 0);
                    }

                    break;
                case 3 or 7:
                    EndService(input, rotate: (value & 0x80) != 0);
                    break;
                case 6:
                    _lowestPriority = (byte)input;
                    break;
            }
        }

        private void WriteOcw3(byte value)
        {
            _poll = (value & 0x04) != 0;
            if ((value & 0x02) != 0)
            {
                _readIsr = (value & 0x01) != 0;
            }

            if ((value & 0x40) != 0)
            {
                _specialMask = (value & 0x20) != 0;
            }
        }

        private void EndService(int input, bool rotate)
        {
            _isr &= (byte)~(1 << input);
            if (rotate)
            {
                _lowestPriority = (byte)input;
            }
        }

        // Rank 0 is the highest priority: the input after the lowest one. 8 means no bit set.
        private int Rank(int inputs)
        {
            int shift = (_lowestPriority + 1) & 7;
            int turned = ((inputs >> shift) | (inputs << (8 - shift))) & 0xFF;
            return turned == 0 ? 8 : BitOperations.TrailingZeroCount(turned);
        }

        private int Input(int rank) => (rank + _lowestPriority + 1) & 7;
    }
}
