// Interrupts of an lguest guest: 32 of them, pending until delivered, masked by words in the guest's own
// memory; and the one-shot clock that raises number 0. The engine asks InterruptRequested whenever the guest
// is about to run, so a guest that forgets to say that it enabled interrupts gets them anyway.

using System;
using System.IO;
using System.Numerics;

namespace Lhype.Machine.Paravirt.Lguest;

public sealed partial class LguestHost
{
    private const uint FirstVector = 0x20;
    private const uint FlagSet = 0x200;
    private const int NanosecondsPerSecond = 1_000_000_000;

    private uint _pending;
    private uint _noIrqStart;
    private uint _noIrqBytes;
    private uint? _frameless;

    /// <inheritdoc/>
    public uint InterruptFlag
    {
        get => _initialised ? ReadWord(LguestDialect.IrqEnabled) & FlagSet : 0;
        set
        {
            if (_initialised)
            {
                WriteWord(LguestDialect.IrqEnabled, value);
            }
        }
    }

    /// <inheritdoc/>
    public bool InterruptRequested
    {
        get
        {
            if (_pending == 0 || !_initialised)
            {
                return false;
            }

            uint candidates = Candidates;
            if (candidates == 0 || (_cpu.Cpl == 1 && _cpu.Eip - _noIrqStart < _noIrqBytes))
            {
                return false;
            }

            if (_cpu.Halted)
            {
                return true;
            }

            // Only the one bit: guests return from traps by copying all of EFLAGS into the word.
            if (InterruptFlag == 0)
            {
                SetIrqPending(FlagSet);
                return false;
            }

            return HasGate(BitOperations.TrailingZeroCount(candidates));
        }
    }

    private uint Candidates => _pending & ~ReadWord(LguestDialect.BlockedInterrupts);

    /// <inheritdoc/>
    public int Acknowledge()
    {
        uint candidates = Candidates;
        if (candidates == 0)
        {
            return -1;
        }

        if (_cpu.Halted)
        {
            WriteWord(LguestDialect.IrqEnabled, FlagSet);
            _cpu.Halted = false;
        }

        int irq = BitOperations.TrailingZeroCount(candidates);
        if (!HasGate(irq))
        {
            return -1;
        }

        _pending &= ~(1u << irq);
        WriteTime();
        if (Candidates == 0)
        {
            SetIrqPending(0);
        }

        return (int)FirstVector + irq;
    }

    /// <summary>Makes interrupt <paramref name="irq"/> (0-31) pending.</summary>
    public void RaiseInterrupt(int irq) => _pending |= 1u << (irq & 31);

    private bool HasGate(int irq) => (_cpu.Idt[FirstVector + irq] >> 47 & 1) != 0;

    /// <summary>Tells the guest (D and later) that it should call when it enables interrupts.</summary>
    private void SetIrqPending(uint value)
    {
        uint offset = _dialect!.IrqPending;
        if (offset != LguestDialect.None && ReadWord(offset) != value)
        {
            WriteWord(offset, value);
        }
    }

    /// <summary>SET_CLOCKEVENT: interrupt 0 after <paramref name="delayNs"/> nanoseconds; 0
    /// cancels.</summary>
    private void SetClock(uint delayNs)
    {
        if (delayNs == 0)
        {
            _timer.Disarm();
        }
        else
        {
            _timer.Arm(_machine.Clock.NowNs + delayNs);
        }
    }

    private void WriteTime()
    {
        long now = _machine.Clock.WallNs;
        WriteWord(LguestDialect.TimeSeconds, (uint)(now / NanosecondsPerSecond));
        WriteWord(LguestDialect.TimeNanoseconds, (uint)(now % NanosecondsPerSecond));
    }

    /// <summary>Where the guest does not want interrupts: the tail of its path back from them.</summary>
    private void ReadInterruptFields()
    {
        LguestDialect dialect = _dialect!;
        if (dialect.NoIrqStart != LguestDialect.None)
        {
            _noIrqStart = ReadWord(dialect.NoIrqStart);
            _noIrqBytes = Math.Max(ReadWord(dialect.NoIrqEnd), _noIrqStart) - _noIrqStart;
        }

        _frameless = dialect.NoIrqReturn != LguestDialect.None ? ReadWord(dialect.NoIrqReturn) : null;
    }

    private void SaveInterrupts(BinaryWriter writer)
    {
        writer.Write(_pending);
        writer.Write(_noIrqStart);
        writer.Write(_noIrqBytes);
        writer.Write(_frameless.HasValue);
        writer.Write(_frameless ?? 0);
        writer.Write(_timer.DeadlineNs);
    }

    private void RestoreInterrupts(BinaryReader reader)
    {
        _pending = reader.ReadUInt32();
        _noIrqStart = reader.ReadUInt32();
        _noIrqBytes = reader.ReadUInt32();
        bool frameless = reader.ReadBoolean();
        uint address = reader.ReadUInt32();
        _frameless = frameless ? address : null;
        _timer.Arm(reader.ReadUInt64());
    }
}
