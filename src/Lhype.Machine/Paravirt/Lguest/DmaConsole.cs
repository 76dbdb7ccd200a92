// Dialect A's console: the guest prints by sending to key 0 and reads from one small buffer bound there.
// Made by LguestDevices.

using System;
using System.IO;
using Lhype.Machine.Devices;

namespace Lhype.Machine.Paravirt.Lguest;

/// <summary>The console of the old bus.</summary>
internal sealed class DmaConsole : DmaDevice
{
    private const int InputBytes = 4096;

    private readonly GuestConsole _console;
    private readonly ByteRing _input = new(InputBytes);
    private bool _refused;

    internal DmaConsole(GuestConsole console) => _console = console;

    internal override ushort Type => 1;

    internal override bool HasPage => false;

    /// <inheritdoc/>
    public override void Save(BinaryWriter writer) => _input.Save(writer);

    /// <inheritdoc/>
    public override void Restore(BinaryReader reader) => _input.Restore(reader);

    /// <summary>Takes a typed byte; false: there is no room, <see cref="GuestConsole.Feed"/> will be called
    /// when there is.</summary>
    internal bool Receive(byte value)
    {
        if (!_input.TryAdd(value))
        {
            _refused = true;
            return false;
        }

        if (_input.Count == 1)
        {
            Bus.RetryAtOnce();
        }

        return true;
    }

    internal override int Send(DmaList data)
    {
        for (int i = 0; i < data.Count; i++)
        {
            _console.Print(data.Piece(i));
        }

        return data.TotalBytes;
    }

    internal override void BindingsChanged(uint key) => Deliver();

    internal override void Retry()
    {
        Deliver();
        if (_refused && _input.Count < InputBytes)
        {
            _refused = false;
            _console.Feed();
        }
    }

    private void Deliver()
    {
        // 256 bytes is what the guest's own buffer holds; more buffers than one are its choice.
        Span<byte> bytes = stackalloc byte[256];
        while (_input.Count != 0 && Bus.IsBound(Key))
        {
            bool free = Bus.TryTake(Key, out DmaBuffer buffer);
            int room = free ? Math.Min(Bus.Buffer.TotalBytes, bytes.Length) : 0;
            int count = 0;
            while (count < room && _input.TryTake(out byte value))
            {
                bytes[count++] = value;
            }

            if (count == 0)
            {
                Bus.RetryLater();
                return;
            }

            Bus.Buffer.Scatter(bytes[..count]);
            Bus.Complete(buffer, count);
        }
    }
}
