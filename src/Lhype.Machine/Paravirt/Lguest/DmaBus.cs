// The devices of dialect A: a page of descriptors after the guest's RAM, a page for each device that needs
// one, and DMA keys. A key is an address inside a device's page (0 for the console). The guest sends to a key
// a device listens on, and binds buffers to the key it listens on itself. Made by LguestDevices; called by
// LguestHost for BIND_DMA and SEND_DMA.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using Lhype.Host;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Paravirt.Lguest;

/// <summary>The old device bus.</summary>
internal sealed class DmaBus : ILguestDevices
{
    /// <summary>Devices a guest can have: entries of the descriptor page.</summary>
    internal const int MaxDevices = 16;

    private const int MaxBindings = 32;
    private const int EntryBytes = 12;
    private const uint PageBytes = 4096;

    /// <summary>A guest frees its buffers without a word, so a device with input looks again after this
    /// long.</summary>
    private const ulong RetryNs = 500_000;

    private readonly LguestBoard _board;
    private readonly DmaDevice[] _devices;
    private readonly Binding[] _bindings = new Binding[MaxBindings];
    private readonly DmaList _sent;
    private readonly ClockTimer _retry;

    /// <summary>Gives each of <paramref name="devices"/> its entry and page, in that order.</summary>
    internal DmaBus(LguestBoard board, IReadOnlyList<DmaDevice> devices)
    {
        Invariant.Check(devices.Count <= MaxDevices, "more devices than LguestDevices.Check allows");
        _board = board;
        _devices = [.. devices];
        _sent = new DmaList(board.Memory);
        Buffer = new DmaList(board.Memory);
        _retry = board.Machine.Clock.CreateTimer(Retry);
        uint page = board.MemoryTop + PageBytes;
        foreach (DmaDevice device in devices)
        {
            device.Attach(this, device.HasPage ? page : 0);
            page += device.HasPage ? PageBytes : 0;
        }
    }

    /// <summary>The buffer <see cref="TryTake"/> found.</summary>
    internal DmaList Buffer { get; }

    /// <inheritdoc/>
    public void Place()
    {
        Span<byte> entry = stackalloc byte[EntryBytes];
        for (int i = 0; i < _devices.Length; i++)
        {
            DmaDevice device = _devices[i];
            entry.Clear();
            BinaryPrimitives.WriteUInt16LittleEndian(entry, device.Type);
            BinaryPrimitives.WriteUInt16LittleEndian(entry[2..], device.Features);
            BinaryPrimitives.WriteUInt16LittleEndian(entry[6..], device.HasPage ? (ushort)1 : (ushort)0);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[8..], device.Page / PageBytes);
            _board.Memory.TryWrite(_board.MemoryTop + (uint)(i * EntryBytes), entry);
            device.Place();
        }
    }

    /// <inheritdoc/>
    public bool Notify(uint address) => false;

    /// <inheritdoc/>
    public bool BindDma(uint key, uint buffers, uint count, byte irq)
    {
        if (key % 4 != 0)
        {
            Kill("BIND_DMA of a key that is not a multiple of 4");
            return false;
        }

        bool done = irq == 0 ? Unbind(key, buffers) : irq < LguestDevices.InterruptCount
            && Bind(new Binding { Key = key, Buffers = buffers, Count = count & 0xFFFF, Irq = irq });
        if (done)
        {
            foreach (DmaDevice device in _devices)
            {
                device.BindingsChanged(key);
            }
        }

        return done;
    }

    /// <inheritdoc/>
    public void SendDma(uint key, uint dma)
    {
        if (key % 4 != 0)
        {
            Kill("SEND_DMA to a key that is not a multiple of 4");
            return;
        }

        if (_sent.Load(dma) is { } wrong)
        {
            Kill(wrong);
            return;
        }

        // Nobody listens on the keys of peers that are not there: what is sent to them is lost, and used_len
        // stays as it is, which tells the sender.
        foreach (DmaDevice device in _devices)
        {
            if (device.Key == key)
            {
                _board.Memory.TryWriteUInt32(dma, (uint)device.Send(_sent));
                break;
            }
        }
    }

    /// <inheritdoc/>
    public void Save(BinaryWriter writer)
    {
        foreach (Binding binding in _bindings)
        {
            writer.Write(binding.Key);
            writer.Write(binding.Buffers);
            writer.Write(binding.Count);
            writer.Write(binding.Next);
            writer.Write(binding.Irq);
        }

        foreach (DmaDevice device in _devices)
        {
            device.Save(writer);
        }
    }

    /// <inheritdoc/>
    public void Restore(BinaryReader reader)
    {
        for (int i = 0; i < _bindings.Length; i++)
        {
            Binding binding = new()
            {
                Key = reader.ReadUInt32(),
                Buffers = reader.ReadUInt32(),
                Count = reader.ReadUInt32(),
                Next = reader.ReadUInt32(),
                Irq = reader.ReadByte(),
            };
            if (binding.Count > 0xFFFF || binding.Irq >= LguestDevices.InterruptCount)
            {
                throw new InvalidDataException("A saved DMA binding is impossible.");
            }

            _bindings[i] = binding;
        }

        foreach (DmaDevice device in _devices)
        {
            device.Restore(reader);
        }

        RetryLater();
    }

    /// <summary>True if the guest bound buffers to <paramref name="key"/>.</summary>
    internal bool IsBound(uint key)
    {
        foreach (ref readonly Binding binding in _bindings.AsSpan())
        {
            if (binding.Irq != 0 && binding.Key == key)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Finds a buffer bound to <paramref name="key"/> that is free (its used_len is 0) and loads it
    /// into <see cref="Buffer"/>. Fill it, then call <see cref="Complete"/>. False: there is none
    /// now.</summary>
    internal bool TryTake(uint key, out DmaBuffer buffer)
    {
        buffer = default;
        foreach (ref Binding binding in _bindings.AsSpan())
        {
            if (binding.Irq == 0 || binding.Key != key)
            {
                continue;
            }

            for (uint i = 0; i < binding.Count; i++)
            {
                uint index = (binding.Next + i) % binding.Count;
                ulong address = binding.Buffers + ((ulong)index * DmaList.StructureBytes);
                if (!_board.Memory.TryReadUInt32(address, out uint used))
                {
                    Kill("a bound DMA structure is not in RAM");
                    return false;
                }

                if (used != 0)
                {
                    continue;
                }

                binding.Next = (index + 1) % binding.Count;
                if (Buffer.Load((uint)address) is { } wrong)
                {
                    Kill(wrong);
                    return false;
                }

                buffer = new DmaBuffer((uint)address, binding.Irq);
                return true;
            }
        }

        return false;
    }

    /// <summary>Gives a taken buffer to the guest with <paramref name="bytes"/> in it, and interrupts
    /// it.</summary>
    internal void Complete(in DmaBuffer buffer, int bytes)
    {
        _board.Memory.TryWriteUInt32(buffer.Address, (uint)bytes);
        _board.RaiseInterrupt(buffer.Irq);
    }

    /// <summary>A device has input and found no free buffer: have it try again soon.</summary>
    internal void RetryLater()
    {
        if (!_retry.Armed)
        {
            _retry.Arm(_board.Machine.Clock.NowNs + RetryNs);
        }
    }

    /// <summary>A device has input that comes in small pieces: have it deliver them together, once all that
    /// is there now has come.</summary>
    internal void RetryAtOnce() => _retry.Arm(_board.Machine.Clock.NowNs);

    internal void Kill(string reason) => _board.Machine.Kill(reason);

    private void Retry()
    {
        foreach (DmaDevice device in _devices)
        {
            device.Retry();
        }
    }

    private bool Bind(in Binding wanted)
    {
        foreach (ref Binding binding in _bindings.AsSpan())
        {
            if (binding.Irq == 0)
            {
                binding = wanted;
                return true;
            }
        }

        return false;
    }

    private bool Unbind(uint key, uint buffers)
    {
        foreach (ref Binding binding in _bindings.AsSpan())
        {
            if (binding.Irq != 0 && binding.Key == key && binding.Buffers == buffers)
            {
                binding = default;
                return true;
            }
        }

        return false;
    }

    /// <summary>One successful BIND_DMA; free if the interrupt is 0.</summary>
    private struct Binding
    {
        internal uint Key;
        internal uint Buffers;
        internal uint Count;
        internal uint Next;
        internal byte Irq;
    }
}

/// <summary>A buffer taken from a binding.</summary>
/// <param name="Address">Guest-physical address of its DMA structure.</param>
/// <param name="Irq">The interrupt that goes with the binding.</param>
internal readonly record struct DmaBuffer(uint Address, byte Irq);

/// <summary>A device on the old bus.</summary>
internal abstract class DmaDevice : ISaveable
{
    /// <summary>Type in the descriptor: 1 console, 2 network, 3 disk.</summary>
    internal abstract ushort Type { get; }

    /// <summary>Features in the descriptor.</summary>
    internal virtual ushort Features => 0;

    /// <summary>True if the device has a page of its own.</summary>
    internal virtual bool HasPage => true;

    /// <summary>Guest-physical address of that page.</summary>
    internal uint Page { get; private set; }

    /// <summary>The key the device listens on.</summary>
    internal uint Key => Page;

    /// <summary>The bus, once attached.</summary>
    protected DmaBus Bus { get; private set; } = null!;

    /// <inheritdoc/>
    public virtual void Save(BinaryWriter writer)
    {
    }

    /// <inheritdoc/>
    public virtual void Restore(BinaryReader reader)
    {
    }

    internal void Attach(DmaBus bus, uint page)
    {
        Bus = bus;
        Page = page;
    }

    /// <summary>Fills the device's page in.</summary>
    internal virtual void Place()
    {
    }

    /// <summary>The guest sent <paramref name="data"/> to <see cref="Key"/>. Returns what it finds as the
    /// used length.</summary>
    internal abstract int Send(DmaList data);

    /// <summary>The guest bound or unbound buffers at <paramref name="key"/>.</summary>
    internal virtual void BindingsChanged(uint key)
    {
    }

    /// <summary>Time to look for free buffers again, if input waits.</summary>
    internal virtual void Retry()
    {
    }
}
