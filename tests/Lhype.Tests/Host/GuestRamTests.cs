// Guest RAM on both sides of the PCI hole: what is RAM and what is not, with addresses and lengths that a
// hostile guest would choose.

using System;
using CsCheck;
using Lhype.Host;
using Xunit;

namespace Lhype.Tests.Host;

public sealed class GuestRamTests
{
    private const ulong HighBytes = 64 << 10;

    private static readonly ulong[] Edges =
    [
        0, GuestRam.VideoStart, GuestRam.VideoEnd, GuestRam.HoleStart, GuestRam.HighStart,
        GuestRam.HighStart + HighBytes, 1UL << 32, 1UL << 40, 1UL << 63, 0,
    ];

    private static readonly Gen<ulong> Near = Gen.Select(Gen.Int[0, Edges.Length - 1], Gen.Int[-9000, 9000])
        .Select((edge, distance) => unchecked(Edges[edge] + (ulong)distance));

    [Fact]
    public void RangesAreRamOnlyIfTheyAreWhollyInOnePiece()
    {
        using GuestRam ram = new(GuestRam.HoleStart + HighBytes);
        Gen.Select(Near, Gen.OneOf(Gen.ULong[1, 20_000], Near)).Sample(
            (gpa, length) => length == 0 || ram.Contains(gpa, length) == Model(gpa, length),
            iter: 100_000, threads: 1);
    }

    [Fact]
    public void BothPartsAreDifferentMemory()
    {
        using GuestRam ram = new(GuestRam.HoleStart + HighBytes);
        Assert.Equal((GuestRam.HoleStart, HighBytes), (ram.LowSize, ram.HighSize));
        ulong[] places =
        [
            0, HighBytes, GuestRam.HoleStart - 8, GuestRam.HighStart, GuestRam.HighStart + HighBytes - 8,
        ];
        foreach (ulong place in places)
        {
            Assert.True(ram.TryGetSpan(place, 8, out Span<byte> span));
            BitConverter.TryWriteBytes(span, place + 1);
        }

        foreach (ulong place in places)
        {
            Assert.True(ram.TryGetSpan(place, 8, out Span<byte> span));
            Assert.Equal(place + 1, BitConverter.ToUInt64(span));
        }
    }

    /// <summary>RAM is three pieces, and numbers that do not go round.</summary>
    private static bool Model(ulong gpa, ulong length)
    {
        (ulong Start, ulong End)[] pieces =
        [
            (0, GuestRam.VideoStart), (GuestRam.VideoEnd, GuestRam.HoleStart),
            (GuestRam.HighStart, GuestRam.HighStart + HighBytes),
        ];
        return Array.Exists(pieces, piece => gpa >= piece.Start && (UInt128)gpa + length <= piece.End);
    }
}
