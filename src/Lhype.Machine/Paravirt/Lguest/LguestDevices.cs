// Chooses the devices of a guest by its dialect. Called by LguestHost when the dialect is settled.

using System.Collections.Generic;
using Lhype.Host;
using Lhype.Machine.Block;
using Lhype.Machine.Net;
using Lhype.Machine.Virtio;

namespace Lhype.Machine.Paravirt.Lguest;

/// <summary>Makes <see cref="ILguestDevices"/>.</summary>
internal static class LguestDevices
{
    /// <summary>Interrupts of a guest, the clock's (0) included.</summary>
    internal const int InterruptCount = 32;

    /// <summary>Throws LhypeException if <paramref name="config"/> has more devices than every dialect can
    /// show: 16 in A, 31 queues with an interrupt each in B to E.</summary>
    internal static void Check(MachineConfig config)
    {
        const int QueuesOfCard = 2, QueuesOfConsoleAndRng = 3;
        int disks = config.Disks.Count;
        int cards = config.Networks.Count;
        if (disks + cards >= DmaBus.MaxDevices
            || disks + (QueuesOfCard * cards) + QueuesOfConsoleAndRng >= InterruptCount)
        {
            throw new LhypeException($"--machine lhype: {disks} disks and {cards} network cards are more "
                + "than a paravirtual guest can have; use fewer --disk or --net.");
        }
    }

    /// <summary>What a guest of dialect A is told to be: it makes the address of its network cards of it,
    /// 02:00, these two bytes as they lie in memory, 00:00. It is then the address that a guest of any other
    /// kind with this ID has (--net mac= cannot be obeyed further than that).</summary>
    internal static ushort GuestIdOf(MachineConfig config)
    {
        ulong mac = MacAddress.ForDomain(config.Id ?? config.Name, 0).Bits;
        return (ushort)(((mac >> 24) & 0xFF) | ((mac >> 8) & 0xFF00));
    }

    /// <summary>The devices <paramref name="board"/>'s dialect knows, configured as the board says, not yet
    /// placed.</summary>
    internal static ILguestDevices Create(LguestBoard board) => board.Dialect.Devices switch
    {
        LguestDeviceModel.OldBus => new DmaBus(board, OnOldBus(board)),
        LguestDeviceModel.Pci => new LguestPci(board, Virtio(board, consoleFirst: true)),
        _ => new VirtioPage(board, Virtio(board, consoleFirst: false)),
    };

    /// <summary>Disks and cards in the order given, so that names in the guest follow it, then console and
    /// entropy source. Dialect F looks for its early console in slot 1.</summary>
    private static List<VirtioDevice> Virtio(LguestBoard board, bool consoleFirst)
    {
        List<VirtioDevice> devices = [];
        for (int i = 0; i < board.Disks.Count; i++)
        {
            string id = board.Config.Disks[i].Id ?? $"disk{i}";
            devices.Add(new VirtioBlock(board.Memory, board.Machine, board.Disks[i], id));
        }

        bool page = board.Dialect.Devices != LguestDeviceModel.Pci;
        foreach (NetworkConnection network in board.Networks)
        {
            devices.Add(new VirtioNet(board.Memory, board.Machine, network.Backend, network.Mac, page));
        }

        VirtioConsole console = new(board.Memory, board.Machine, board.Console.Print);
        board.Console.Connect(board.Machine, value => console.Receive([value]) == 1);
        console.RoomAvailable = board.Console.Feed;
        devices.Insert(consoleFirst ? 0 : devices.Count, console);
        devices.Add(new VirtioRng(board.Memory, board.Machine, board.Entropy));
        return devices;
    }

    private static List<DmaDevice> OnOldBus(LguestBoard board)
    {
        List<DmaDevice> devices = [];
        foreach (IBlockBackend disk in board.Disks)
        {
            devices.Add(new DmaDisk(board.Memory, disk));
        }

        foreach (NetworkConnection network in board.Networks)
        {
            devices.Add(new DmaNet(board.Memory, network.Backend, network.Mac));
        }

        DmaConsole console = new(board.Console);
        board.Console.Connect(board.Machine, console.Receive);
        devices.Add(console);
        return devices;
    }
}
