// The guest's console between its device and the outside: bytes the guest prints go to a sink as they are,
// while the last line and a kernel panic are remembered for crash reports; bytes typed wait here until the
// device has room. MachineBuilder connects it to the serial port or the virtio console; the command line to
// the terminal.

using System;
using System.Collections.Generic;
using System.Text;
using System.Threading;
using Lhype.Machine.Bus;

namespace Lhype.Machine;

/// <summary>Receives what the guest prints, on the vCPU's thread.</summary>
public delegate void ConsoleOutput(ReadOnlySpan<byte> bytes);

/// <summary>One console of a guest.</summary>
public sealed class GuestConsole
{
    /// <summary>Typed bytes that may wait for the guest.</summary>
    public const int InputCapacity = 1 << 16;

    private const int MaxLineBytes = 240;

    private readonly ConsoleOutput _output;
    private readonly byte[] _line = new byte[MaxLineBytes];
    private readonly byte[] _lastLine = new byte[MaxLineBytes];
    private readonly Queue<byte> _input = new();
    private int _lineLength;
    private int _lastLineLength;
    private int _waiting;
    private EscapeState _escape;
    private IInbox? _inbox;
    private Func<byte, bool>? _device;
    private Action<int, int>? _resize;

    private enum EscapeState
    {
        Text,
        Escape,
        Parameters,
    }

    /// <summary>A console that prints to <paramref name="output"/>.</summary>
    public GuestConsole(ConsoleOutput output) => _output = output;

    /// <summary>The line of a kernel panic, if the guest printed one.</summary>
    public string? PanicLine { get; private set; }

    /// <summary>True if the guest's last byte ended a line.</summary>
    public bool AtLineStart { get; private set; } = true;

    /// <summary>The last line that was not blank, without control characters.</summary>
    public string LastLine =>
        Encoding.UTF8.GetString(HasText(_line.AsSpan(0, _lineLength))
            ? _line.AsSpan(0, _lineLength)
            : _lastLine.AsSpan(0, _lastLineLength)).Trim();

    /// <summary>Connects the device that takes typed bytes: <paramref name="device"/> returns false while it
    /// has no room, and calls <see cref="Feed"/> when it has some again. <paramref name="resize"/> tells a
    /// device that can tell its guest the columns and rows of the terminal.</summary>
    public void Connect(IInbox inbox, Func<byte, bool> device, Action<int, int>? resize = null)
    {
        _device = device;
        _resize = resize;
        Volatile.Write(ref _inbox, inbox);
    }

    /// <summary>From the device, on the vCPU's thread: the guest printed <paramref name="value"/>.</summary>
    public void Print(byte value) => Print([value]);

    /// <summary>From the device, on the vCPU's thread: the guest printed <paramref name="bytes"/>.</summary>
    public void Print(ReadOnlySpan<byte> bytes)
    {
        foreach (byte value in bytes)
        {
            Remember(value);
        }

        _output(bytes);
    }

    /// <summary>From any thread: queues typed bytes. Returns how many fit; the rest is for later, or
    /// lost.</summary>
    public int Type(ReadOnlySpan<byte> bytes)
    {
        IInbox? inbox = Volatile.Read(ref _inbox);
        int room = InputCapacity - Volatile.Read(ref _waiting);
        int count = Math.Min(bytes.Length, room);
        if (inbox is null || count <= 0)
        {
            return 0;
        }

        // Several may type at once: who came second finds no room.
        if (Interlocked.Add(ref _waiting, count) > InputCapacity)
        {
            Interlocked.Add(ref _waiting, -count);
            return 0;
        }

        byte[] copy = bytes[..count].ToArray();
        inbox.Post(() =>
        {
            foreach (byte value in copy)
            {
                _input.Enqueue(value);
            }

            Feed();
        });
        return count;
    }

    /// <summary>From any thread: the terminal has another size, in characters.</summary>
    public void Resize(int columns, int rows)
    {
        if (Volatile.Read(ref _inbox) is { } inbox && _resize is { } resize)
        {
            inbox.Post(() => resize(columns, rows));
        }
    }

    /// <summary>From the device, on the vCPU's thread: there is room for typed bytes.</summary>
    public void Feed()
    {
        while (_input.TryPeek(out byte value) && _device!(value))
        {
            _input.Dequeue();
            Interlocked.Decrement(ref _waiting);
        }
    }

    private void Remember(byte value)
    {
        AtLineStart = value == (byte)'\n';
        if (InEscapeSequence(value))
        {
            return;
        }

        if (value == (byte)'\n')
        {
            ReadOnlySpan<byte> line = _line.AsSpan(0, _lineLength);
            if (HasText(line))
            {
                line.CopyTo(_lastLine);
                _lastLineLength = _lineLength;
                int panic = line.IndexOf("Kernel panic - not syncing"u8);
                if (panic >= 0)
                {
                    PanicLine = Encoding.UTF8.GetString(line[panic..]).Trim();
                }
            }

            _lineLength = 0;
        }
        else if (value >= 0x20 && value != 0x7F && _lineLength < MaxLineBytes)
        {
            _line[_lineLength++] = value;
        }
    }

    // Colours and cursor movements (ECMA-48: ESC [ parameters final, or ESC and one byte) are no text.
    private bool InEscapeSequence(byte value)
    {
        switch (_escape)
        {
            case EscapeState.Text when value == 0x1B:
                _escape = EscapeState.Escape;
                return true;
            case EscapeState.Escape:
                _escape = value == (byte)'[' ? EscapeState.Parameters : EscapeState.Text;
                return true;
            case EscapeState.Parameters:
                _escape = value is >= 0x40 and <= 0x7E ? EscapeState.Text : EscapeState.Parameters;
                return true;
            default:
                return false;
        }
    }

    private static bool HasText(ReadOnlySpan<byte> line) => line.IndexOfAnyExcept((byte)' ') >= 0;
}
