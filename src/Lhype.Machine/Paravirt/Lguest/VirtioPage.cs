// The devices of dialects B to E: virtio devices that the guest finds on the page right after its RAM, with
// their rings on the pages after that. Made by LguestDevices; called by LguestHost for NOTIFY.

using System.Collections.Generic;
using System.IO;
using Lhype.Host;
using Lhype.Machine.Virtio;

namespace Lhype.Machine.Paravirt.Lguest;

/// <summary>The descriptor page and everything behind it.</summary>
internal sealed class VirtioPage : ILguestDevices
{
    private const uint PageBytes = VirtioPageTransport.PageBytes;

    private readonly LguestBoard _board;
    private readonly VirtioPageTransport[] _devices;

    /// <summary>For each device page whether a ring starts there, and whose.</summary>
    private readonly Ring[] _rings = new Ring[LguestBoard.DevicePages];

    /// <summary>Gives each of <paramref name="devices"/> its place, in that order.</summary>
    internal VirtioPage(LguestBoard board, IReadOnlyList<VirtioDevice> devices)
    {
        _board = board;
        _devices = new VirtioPageTransport[devices.Count];
        uint entry = board.MemoryTop;
        int page = 1;
        int interrupt = 1;
        for (int i = 0; i < devices.Count; i++)
        {
            VirtioPageTransport device = new(
                devices[i], board, entry, board.MemoryTop + ((uint)page * PageBytes), interrupt);
            _devices[i] = device;
            for (int queue = 0; queue < device.QueueCount; queue++)
            {
                _rings[(device.RingAddress(queue) - board.MemoryTop) / PageBytes] = new Ring(device, queue);
            }

            entry += (uint)device.EntryBytes;
            page += device.RingPages;
            interrupt += device.QueueCount;
            bool fits = entry < board.MemoryTop + PageBytes && page <= LguestBoard.DevicePages
                && interrupt <= LguestDevices.InterruptCount;
            Invariant.Check(fits, "more devices than LguestDevices.Check allows");
        }
    }

    /// <inheritdoc/>
    public void Place()
    {
        // The first byte after the last entry stays zero: type 0 ends the list.
        foreach (VirtioPageTransport device in _devices)
        {
            device.Place();
        }
    }

    /// <inheritdoc/>
    public bool Notify(uint address)
    {
        if (address < _board.MemoryTop)
        {
            return false;
        }

        ulong offset = address - _board.MemoryTop;
        if (offset < PageBytes)
        {
            foreach (VirtioPageTransport device in _devices)
            {
                if (device.EntryAddress == address)
                {
                    device.StatusChanged();
                    return true;
                }
            }
        }
        else if (offset % PageBytes == 0 && offset / PageBytes < LguestBoard.DevicePages
            && _rings[offset / PageBytes] is { Device: { } owner } ring)
        {
            owner.Kick(ring.Queue);
            return true;
        }

        _board.Machine.Kill($"NOTIFY of {address:x}, where neither RAM, a ring nor a descriptor is");
        return true;
    }

    /// <inheritdoc/>
    public bool BindDma(uint key, uint buffers, uint count, byte irq) => false;

    /// <inheritdoc/>
    public void SendDma(uint key, uint dma)
    {
    }

    /// <inheritdoc/>
    public void Save(BinaryWriter writer)
    {
        foreach (VirtioPageTransport device in _devices)
        {
            device.Save(writer);
        }
    }

    /// <inheritdoc/>
    public void Restore(BinaryReader reader)
    {
        foreach (VirtioPageTransport device in _devices)
        {
            device.Restore(reader);
        }
    }

    private readonly record struct Ring(VirtioPageTransport? Device, int Queue);
}
