// A 16550A serial port: COM1, the guest's console. Bytes the guest sends go to a sink at once; bytes from the
// terminal come through Receive and wait in a bounded queue until the guest wants them. Sources: National
// PC16550D data sheet; what Linux's 8250 driver probes for decides the exactness of loopback, IIR and the
// THRE interrupt.

using System;
using System.IO;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Devices;

/// <summary>A 16550A UART with 16-byte FIFOs at 115200 baud.</summary>
public sealed class Uart16550 : IPortDevice, ISaveable
{
    /// <summary>Bytes from the terminal held back for the guest; <see cref="Receive"/> refuses
    /// more.</summary>
    public const int QueueLength = 65536;

    private const int FifoLength = 16;

    // Sixteen characters of ten bits at 115200 baud: the guest is never fed faster than a real line would.
    private const ulong BurstNs = FifoLength * 10 * 1_000_000_000ul / 115_200;

    private const byte IerReceived = 0x01;
    private const byte IerTransmitEmpty = 0x02;
    private const byte IerLineStatus = 0x04;
    private const byte IerModemStatus = 0x08;
    private const byte LcrDivisorAccess = 0x80;
    private const byte McrRts = 0x02;
    private const byte McrOut2 = 0x08;
    private const byte McrLoop = 0x10;
    private const byte LsrDataReady = 0x01;
    private const byte LsrOverrun = 0x02;
    private const byte LsrBreak = 0x10;
    private const byte LsrTransmitEmpty = 0x60;

    // Carrier, data set ready, clear to send: a terminal is connected.
    private const byte MsrConnected = 0xB0;

    private readonly VirtualClock _clock;
    private readonly IrqLine _irq;
    private readonly Action<byte> _sink;
    private readonly ClockTimer _refill;
    private readonly ByteRing _fifo = new(FifoLength);
    private readonly ByteRing _queue = new(QueueLength);
    private ulong _nextBurstNs;
    private byte _ier;
    private byte _fcr;
    private byte _lcr;
    private byte _mcr;
    private byte _lsrErrors;
    private byte _msrDelta;
    private byte _scratch;
    private ushort _divisor = 12;
    private bool _transmitEmptyPending;

    /// <summary>Makes the port; <paramref name="irq"/> is its interrupt, <paramref name="sink"/> takes every
    /// byte the guest sends.</summary>
    public Uart16550(VirtualClock clock, IrqLine irq, Action<byte> sink)
    {
        _clock = clock;
        _irq = irq;
        _sink = sink;
        _refill = clock.CreateTimer(Refill);
    }

    /// <summary>Called when room appears in a queue that <see cref="Receive"/> found full.</summary>
    public Action? RoomAvailable { get; set; }

    /// <summary>Bytes <see cref="Receive"/> would take now.</summary>
    public int Room => QueueLength - _queue.Count;

    private bool FifoEnabled => (_fcr & 1) != 0;

    private int FifoLimit => FifoEnabled ? FifoLength : 1;

    private bool Loopback => (_mcr & McrLoop) != 0;

    // The terminal may send while the driver has RTS up, or takes receive interrupts. Bytes typed before that
    // are kept instead of being lost when the driver probes the chip, which flips interrupt enables.
    private bool GuestListens => (_mcr & McrRts) != 0 || ((_mcr & McrOut2) != 0 && (_ier & IerReceived) != 0);

    private byte LineStatus => (byte)(LsrTransmitEmpty | _lsrErrors | (_fifo.Count != 0 ? LsrDataReady : 0));

    /// <summary>Claims the eight ports from <paramref name="port"/>.</summary>
    public void Attach(AddressBus bus, ushort port) => bus.AddBytePorts(port, 8, this);

    /// <summary>Master reset: registers as after power-on; bytes waiting from the terminal are
    /// kept.</summary>
    public void Reset()
    {
        ClearReceiveFifo();
        _ier = 0;
        _fcr = 0;
        _lcr = 0;
        _mcr = 0;
        _lsrErrors = 0;
        _msrDelta = 0;
        _scratch = 0;
        _divisor = 12;
        _transmitEmptyPending = false;
        UpdateIrq();
    }

    /// <summary>A byte from the terminal. False if the queue is full: try again after
    /// <see cref="RoomAvailable"/>.</summary>
    public bool Receive(byte value)
    {
        if (!_queue.TryAdd(value))
        {
            return false;
        }

        Feed();
        return true;
    }

    /// <summary>A break condition from the terminal (for the guest's magic SysRq).</summary>
    public void ReceiveBreak()
    {
        _lsrErrors |= LsrBreak;
        PutInFifo(0);
        UpdateIrq();
    }

    /// <inheritdoc/>
    public uint ReadPort(ushort port, int size)
    {
        switch (port & 7)
        {
            case 0 when (_lcr & LcrDivisorAccess) != 0:
                return _divisor & 0xFFu;
            case 0:
                return ReadData();
            case 1 when (_lcr & LcrDivisorAccess) != 0:
                return (uint)_divisor >> 8;
            case 1:
                return _ier;
            case 2:
                return ReadInterruptIdentification();
            case 3:
                return _lcr;
            case 4:
                return _mcr;
            case 5:
                byte line = LineStatus;
                _lsrErrors = 0;
                UpdateIrq();
                return line;
            case 6:
                byte modem = ModemStatus();
                _msrDelta = 0;
                UpdateIrq();
                return modem;
            default:
                return _scratch;
        }
    }

    /// <inheritdoc/>
    public void WritePort(ushort port, int size, uint value)
    {
        byte data = (byte)value;
        switch (port & 7)
        {
            case 0 when (_lcr & LcrDivisorAccess) != 0:
                _divisor = (ushort)((_divisor & 0xFF00) | data);
                break;
            case 0:
                Transmit(data);
                break;
            case 1 when (_lcr & LcrDivisorAccess) != 0:
                _divisor = (ushort)((_divisor & 0x00FF) | (data << 8));
                break;
            case 1:
                WriteInterruptEnable(data);
                break;
            case 2:
                WriteFifoControl(data);
                break;
            case 3:
                _lcr = data;
                break;
            case 4:
                WriteModemControl(data);
                break;
            case 7:
                _scratch = data;
                break;
        }
    }

    /// <inheritdoc/>
    public void Save(BinaryWriter writer)
    {
        writer.Write([_ier, _fcr, _lcr, _mcr, _lsrErrors, _msrDelta, _scratch]);
        writer.Write(_divisor);
        writer.Write(_transmitEmptyPending);
        writer.Write(_nextBurstNs);
        _fifo.Save(writer);
        _queue.Save(writer);
    }

    /// <inheritdoc/>
    public void Restore(BinaryReader reader)
    {
        _ier = (byte)(reader.ReadByte() & 0x0F);
        _fcr = reader.ReadByte();
        _lcr = reader.ReadByte();
        _mcr = (byte)(reader.ReadByte() & 0x1F);
        _lsrErrors = (byte)(reader.ReadByte() & 0x1E);
        _msrDelta = (byte)(reader.ReadByte() & 0x0F);
        _scratch = reader.ReadByte();
        _divisor = reader.ReadUInt16();
        _transmitEmptyPending = reader.ReadBoolean();
        _nextBurstNs = reader.ReadUInt64();
        _fifo.Restore(reader);
        _queue.Restore(reader);
        UpdateIrq();
        Feed();
    }

    private uint ReadData()
    {
        byte value = _fifo.TryTake(out byte taken) ? taken : (byte)0;
        Feed();
        UpdateIrq();
        return value;
    }

    private void Transmit(byte value)
    {
        if (Loopback)
        {
            PutInFifo(value);
        }
        else
        {
            _sink(value);
        }

        // The line is infinitely fast: the holding register is empty again at once.
        _transmitEmptyPending = true;
        UpdateIrq();
    }

    private void WriteInterruptEnable(byte value)
    {
        byte before = _ier;
        _ier = (byte)(value & 0x0F);

        // Turning the THRE interrupt on while the register is empty asks at once; Linux tests for this.
        if ((before & IerTransmitEmpty) == 0 && (_ier & IerTransmitEmpty) != 0)
        {
            _transmitEmptyPending = true;
        }

        Feed();
        UpdateIrq();
    }

    private void WriteFifoControl(byte value)
    {
        bool toggled = ((value ^ _fcr) & 1) != 0;
        if (toggled || (value & 0x03) == 0x03)
        {
            ClearReceiveFifo();
        }

        if ((value & 0x05) == 0x05)
        {
            _transmitEmptyPending = true;
        }

        _fcr = (byte)((value & 1) != 0 ? value & 0xC1 : 0);
        Feed();
        UpdateIrq();
    }

    private void WriteModemControl(byte value)
    {
        byte before = ModemStatus();
        _mcr = (byte)(value & 0x1F);
        int changed = (before ^ ModemStatus()) >> 4;

        // Ring indicator counts only its trailing edge.
        int trailing = (before & 0x40) != 0 ? 0x0F : 0x0B;
        _msrDelta |= (byte)(changed & trailing);
        Feed();
        UpdateIrq();
    }

    // In loopback the four modem inputs are the four modem outputs (data sheet, 8.6.7, bit 4).
    private byte ModemStatus()
    {
        if (!Loopback)
        {
            return (byte)(MsrConnected | _msrDelta);
        }

        int lines = ((_mcr & 0x02) << 3) | ((_mcr & 0x01) << 5) | ((_mcr & 0x0C) << 4);
        return (byte)(lines | _msrDelta);
    }

    private uint ReadInterruptIdentification()
    {
        byte cause = InterruptCause();
        if (cause == 0x02)
        {
            _transmitEmptyPending = false;
            UpdateIrq();
        }

        return (uint)(cause | (FifoEnabled ? 0xC0 : 0));
    }

    // Priorities of the data sheet's table 8.6.5; 1 means nothing pending.
    private byte InterruptCause()
    {
        if ((_ier & IerLineStatus) != 0 && _lsrErrors != 0)
        {
            return 0x06;
        }

        if ((_ier & IerReceived) != 0 && _fifo.Count != 0)
        {
            // Below the trigger level the character time-out (four characters long) is reported without the
            // wait.
            return FifoEnabled && _fifo.Count < TriggerLevel() ? (byte)0x0C : (byte)0x04;
        }

        if ((_ier & IerTransmitEmpty) != 0 && _transmitEmptyPending)
        {
            return 0x02;
        }

        return (_ier & IerModemStatus) != 0 && _msrDelta != 0 ? (byte)0x00 : (byte)0x01;
    }

    private int TriggerLevel() => (_fcr >> 6) switch { 0 => 1, 1 => 4, 2 => 8, _ => 14 };

    private void PutInFifo(byte value)
    {
        if (_fifo.Count >= FifoLimit || !_fifo.TryAdd(value))
        {
            _lsrErrors |= LsrOverrun;
        }
    }

    // On a PC, OUT2 gates the interrupt line; in loopback the outputs, OUT2 too, are inactive outside the
    // chip.
    private void UpdateIrq()
    {
        bool wired = (_mcr & (McrOut2 | McrLoop)) == McrOut2;
        _irq.Set(wired && (InterruptCause() & 1) == 0);
    }

    private void Refill()
    {
        Feed();
        UpdateIrq();
    }

    // A driver empties the FIFO when it starts, to be rid of noise. Bytes typed ahead are no noise: they go
    // back to the queue and come again a little later.
    private void ClearReceiveFifo()
    {
        if (Loopback)
        {
            _fifo.Clear();
        }
        else if (_fifo.Count != 0)
        {
            _fifo.ReturnTo(_queue);
            _nextBurstNs = _clock.NowNs + BurstNs;
        }
    }

    // Moves waiting bytes into the FIFO, one FIFO full per burst time.
    private void Feed()
    {
        if (_queue.Count == 0 || Loopback || !GuestListens || _fifo.Count != 0)
        {
            return;
        }

        ulong now = _clock.NowNs;
        if (now < _nextBurstNs)
        {
            _refill.Arm(_nextBurstNs);
            return;
        }

        bool wasFull = Room == 0;
        int moved = 0;
        while (_fifo.Count < FifoLimit && _queue.TryTake(out byte value))
        {
            _fifo.TryAdd(value);
            moved++;
        }

        _nextBurstNs = now + (BurstNs / FifoLength * (ulong)moved);
        UpdateIrq();
        if (wasFull)
        {
            RoomAvailable?.Invoke();
        }
    }
}
