// What a switch learns by listening: which port of the hub leads to an address that no port owns, because
// the guest there bridges others. Used by HubBackend; a fixed table in which a newer address may push an
// older one out, which only costs a flood.

namespace Lhype.Machine.Net;

/// <summary>A table of addresses and ports.</summary>
internal sealed class LearnedAddresses
{
    private const int Entries = 256;
    private const int PortShift = 48;
    private const ulong Present = 1UL << 63;

    private readonly ulong[] _table = new ulong[Entries];

    /// <summary>Notes that a frame from <paramref name="address"/> came in by
    /// <paramref name="port"/>.</summary>
    public void Learn(MacAddress address, int port) =>
        _table[Index(address)] = Present | ((ulong)port << PortShift) | address.Bits;

    /// <summary>The port that leads to <paramref name="address"/>; -1 if not known.</summary>
    public int Find(MacAddress address)
    {
        ulong entry = _table[Index(address)];
        bool known = (entry & ((1UL << PortShift) - 1)) == address.Bits && entry != 0;
        return known ? (int)((entry & ~Present) >> PortShift) : -1;
    }

    private static int Index(MacAddress address)
    {
        uint folded = (uint)(address.Bits ^ (address.Bits >> 24)) * 0x9E37_79B1;
        return (int)(folded >> 24) % Entries;
    }
}
