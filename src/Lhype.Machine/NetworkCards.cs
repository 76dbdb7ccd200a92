// Makes the network cards of a machine: opens what each --net names and puts a VirtioNet in front of it.
// Called by MachineBuilder, for whichever board; it plugs the cards in.

using System;
using System.Collections.Generic;
using Lhype.Host;
using Lhype.Machine.Bus;
using Lhype.Machine.Net;
using Lhype.Machine.Virtio;

namespace Lhype.Machine;

/// <summary>What a network back end may need of its machine.</summary>
/// <param name="Inbox">Where host threads post.</param>
/// <param name="Clock">The machine's time.</param>
/// <param name="Report">Tells the user one sentence, from any thread.</param>
public sealed record NetworkHost(IInbox Inbox, VirtualClock Clock, Action<string> Report);

/// <summary>One <c>--net</c>, opened.</summary>
/// <param name="Mac">The address of its card.</param>
/// <param name="Backend">What the card is connected to.</param>
public sealed record NetworkConnection(MacAddress Mac, INetworkBackend Backend);

/// <summary>Makes network cards.</summary>
public static class NetworkCards
{
    /// <summary>Makes a card for each <c>--net</c> of <paramref name="config"/>, in that order, and adds what
    /// must be freed with the machine to <paramref name="owned"/>. Throws LhypeException.</summary>
    public static List<VirtioNet> Make(
        MachineConfig config, GuestMemory memory, NetworkHost host, List<IDisposable> owned)
    {
        List<VirtioNet> cards = [];
        foreach (NetworkConnection network in Open(config, host, owned))
        {
            cards.Add(new VirtioNet(memory, host.Inbox, network.Backend, network.Mac));
        }

        return cards;
    }

    /// <summary>Opens what each <c>--net</c> of <paramref name="config"/> names, in that order, and adds it
    /// to <paramref name="owned"/>, for a board that makes its cards itself. Throws LhypeException.</summary>
    public static List<NetworkConnection> Open(
        MachineConfig config, NetworkHost host, List<IDisposable> owned)
    {
        List<NetworkConnection> networks = [];
        for (int i = 0; i < config.Networks.Count; i++)
        {
            if (config.Networks[i].Kind != NetworkKind.None)
            {
                MacAddress mac = MacOf(config, i);
                INetworkBackend backend = Open(config.Networks[i], mac, host);
                owned.Add(backend);
                networks.Add(new NetworkConnection(mac, backend));
            }
        }

        return networks;
    }

    /// <summary>The address of card <paramref name="index"/>.</summary>
    public static MacAddress MacOf(MachineConfig config, int index)
    {
        if (config.Networks[index].Mac is not { } text)
        {
            return MacAddress.ForDomain(config.Id ?? config.Name, index);
        }

        return MacAddress.TryParse(text, out MacAddress given)
            ? given
            : throw new LhypeException($"--net mac={text} is not the address of a card; "
                + "write six bytes like 02:00:00:00:00:01, the first one even.");
    }

    private static INetworkBackend Open(NetworkConfig network, MacAddress mac, NetworkHost host)
    {
        // The file first: what is connected would have to be given up again.
        PcapFile? pcap = network.Pcap is { } file ? PcapFile.Create(file, host.Report) : null;
        try
        {
            INetworkBackend backend = Connect(network, mac, host);
            return pcap is null ? backend : new CapturedBackend(backend, pcap, host.Clock);
        }
        catch
        {
            pcap?.Dispose();
            throw;
        }
    }

    private static INetworkBackend Connect(NetworkConfig network, MacAddress mac, NetworkHost host) =>
        network.Kind switch
        {
            NetworkKind.User => UserNetwork.Open(network.HostForwards, host.Inbox),
            NetworkKind.Hub => HubBackend.Open(network.Target ?? "", mac, host),
            NetworkKind.Tap => TapBackend.Open(network, host),
            _ => throw new LhypeException(
                $"--net {network.Kind}: this version has no such network; use --net none."),
        };
}
