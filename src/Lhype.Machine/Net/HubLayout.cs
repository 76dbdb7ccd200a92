// Where things are in a hub file (docs/decisions/0007-hub-file.md). One page of header, a table of 64 ports,
// then a ring for each ordered pair of ports, written by one and read by the other. The rings are ordered by
// the higher of their two port numbers, so that the file is only as long as the highest port in use needs.
//
//   0      magic, generation                     changed when a port is taken, left or renamed
//   4096   64 ports of 128 bytes: address        \  a cache line written by the port's owner, rarely
//                                 word, pending  /  a cache line through which others wake it
//   16384  rings of 256 KiB: 1->0, 0->1, 2->0, 0->2, 2->1, 1->2, 3->0 ...
//
// All numbers are little-endian.

using System;

namespace Lhype.Machine.Net;

/// <summary>Offsets in a hub file, in bytes.</summary>
internal static class HubLayout
{
    /// <summary>Ports of a hub.</summary>
    internal const int Ports = 64;

    /// <summary>The first eight bytes: "LhypeHb" and the version of this layout.</summary>
    internal const ulong Magic = 0x01_62_48_65_70_79_68_4C;

    /// <summary>Where <see cref="Magic"/> is.</summary>
    internal const long MagicOffset = 0;

    /// <summary>A number that changes whenever the table of ports does; 32 bits.</summary>
    internal const long GenerationOffset = 64;

    /// <summary>Bytes before the rings.</summary>
    internal const long HeaderBytes = 16384;

    /// <summary>Bytes of a ring with its two positions.</summary>
    internal const int RingBytes = 256 << 10;

    /// <summary>Bytes before a ring's data.</summary>
    internal const int RingHeaderBytes = 4096;

    /// <summary>Bytes of data in a ring: several of the largest frames.</summary>
    internal const int RingCapacity = RingBytes - RingHeaderBytes;

    /// <summary>In a ring: bytes written since the ring was made, by the sender.</summary>
    internal const int HeadOffset = 0;

    /// <summary>In a ring: bytes taken since the ring was made, by the receiver.</summary>
    internal const int TailOffset = 128;

    /// <summary>Set in a port's address word while the port is used.</summary>
    internal const ulong PortUsed = 1UL << 63;

    /// <summary>Length of a file in which all ports are used.</summary>
    internal const long FullBytes = HeaderBytes + ((long)Ports * (Ports - 1) * RingBytes);

    /// <summary>Far beyond any data: the lock that is held while joining, behind it those of the
    /// ports.</summary>
    internal const long JoinLock = 1L << 40;

    private const long PortsOffset = 4096;
    private const int PortBytes = 128;

    /// <summary>The lock a port's owner holds while it lives.</summary>
    internal static long PortLock(int port) => JoinLock + 1 + port;

    /// <summary>The port's Ethernet address, and <see cref="PortUsed"/>.</summary>
    internal static long Address(int port) => PortsOffset + (port * PortBytes);

    /// <summary>The futex word the port's owner sleeps on.</summary>
    internal static long Word(int port) => Address(port) + 64;

    /// <summary>Bit per sender that wrote something for the port.</summary>
    internal static long Pending(int port) => Address(port) + 72;

    /// <summary>The ring from one port to another.</summary>
    internal static long Ring(int from, int to)
    {
        int high = Math.Max(from, to);
        int low = Math.Min(from, to);
        return HeaderBytes + ((((long)high * (high - 1)) + (2 * low) + (from == high ? 0 : 1)) * RingBytes);
    }

    /// <summary>Where the rings that a new highest port needs begin; for the next port: where they
    /// end.</summary>
    internal static long RingsOf(int port) => HeaderBytes + ((long)port * (port - 1) * RingBytes);
}
