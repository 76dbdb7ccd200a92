// One viewer's place in a ConsoleLog. After a burst it naps before it sleeps, so that a guest that prints
// character by character causes one system call per nap, not one per character.

using System;
using System.Threading;
using Lhype.Host;

namespace Lhype.Machine.Control;

/// <summary>Reads a console log from one thread.</summary>
public sealed class ConsoleReader : IDisposable
{
    private const ulong NapNs = 1_000_000;

    private readonly ConsoleLog _log;
    private readonly ThreadSleeper _sleeper = new();
    private long _position;
    private bool _napped;
    private int _resting;
    private volatile bool _finished;

    internal ConsoleReader(ConsoleLog log, long position)
    {
        _log = log;
        _position = position;
        ReplayBytes = (int)(log.Head - position);
    }

    /// <summary>How many of the first bytes were printed before the reader was there.</summary>
    public int ReplayBytes { get; }

    /// <summary>Waits for output and copies it. Returns the count, 0 when finished and all is read.
    /// <paramref name="lost"/> is how many bytes before these the reader was too slow for.</summary>
    public int Read(Span<byte> destination, out long lost)
    {
        lost = 0;
        while (true)
        {
            bool last = _finished;
            int count = _log.Copy(_position, destination);
            if (count > 0)
            {
                _position += count;
                _napped = false;
                return count;
            }

            if (count < 0)
            {
                // Half of the scroll-back: far enough from the writer not to be lapped again at once.
                long next = _log.Head - (ConsoleLog.ScrollBackBytes / 2);
                lost += next - _position;
                _position = next;
            }
            else if (last)
            {
                return 0;
            }
            else
            {
                Wait();
            }
        }
    }

    /// <summary>From any thread: nothing more will come; <see cref="Read"/> gives what is left, then
    /// 0.</summary>
    public void Finish()
    {
        _finished = true;
        _sleeper.Wake();
    }

    /// <summary>Leaves the log.</summary>
    public void Dispose() => _log.Remove(this);

    internal void WakeIfResting()
    {
        if (Volatile.Read(ref _resting) != 0)
        {
            Volatile.Write(ref _resting, 0);
            _sleeper.Wake();
        }
    }

    private void Wait()
    {
        if (!_napped)
        {
            _napped = true;
            _sleeper.Sleep(NapNs);
            return;
        }

        Volatile.Write(ref _resting, 1);
        Interlocked.MemoryBarrier();
        if (_log.Head == _position && !_finished)
        {
            _sleeper.Sleep(ThreadSleeper.Forever);
        }

        Volatile.Write(ref _resting, 0);
    }
}
