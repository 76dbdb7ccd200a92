// struct virtio_net_hdr (virtio 1.2, 5.1.6) without num_buffers: what is left undone in a frame. VirtioNet
// reads it from and writes it to guest memory, the hub file and tap carry it as it is, little-endian.

using System;
using System.Buffers.Binary;

namespace Lhype.Machine.Net;

/// <summary>What is left undone in a frame. Default: nothing.</summary>
/// <param name="Flags">Of <see cref="NeedsChecksum"/> and <see cref="DataValid"/>.</param>
/// <param name="GsoType">One of <see cref="GsoNone"/> ..., with <see cref="GsoEcn"/> maybe.</param>
/// <param name="HeaderBytes">A hint: bytes of headers before the payload. Never to be trusted.</param>
/// <param name="SegmentBytes">Most payload bytes per segment, if there is a GSO type.</param>
/// <param name="ChecksumStart">Where the checksum starts, from the start of the frame.</param>
/// <param name="ChecksumOffset">Where it is stored, from <see cref="ChecksumStart"/>.</param>
public readonly record struct FrameHeader(byte Flags, byte GsoType, ushort HeaderBytes, ushort SegmentBytes,
    ushort ChecksumStart, ushort ChecksumOffset)
{
    /// <summary>Bytes this takes in memory.</summary>
    public const int Bytes = 10;

    /// <summary>Flag: the checksum field holds that of the pseudo header only; the rest is to be
    /// added.</summary>
    public const byte NeedsChecksum = 1;
    /// <summary>Flag: the checksum was verified.</summary>
    public const byte DataValid = 2;

    /// <summary>GSO type: no segmentation.</summary>
    public const byte GsoNone = 0;
    /// <summary>GSO type: TCP over IPv4.</summary>
    public const byte GsoTcp4 = 1;
    /// <summary>GSO type: TCP over IPv6.</summary>
    public const byte GsoTcp6 = 4;
    /// <summary>Flag of the GSO type: the first segment has CWR, the others must not.</summary>
    public const byte GsoEcn = 0x80;

    /// <summary>Reads the ten bytes at the start of <paramref name="source"/>.</summary>
    public static FrameHeader Read(ReadOnlySpan<byte> source) => new(source[0], source[1],
        BinaryPrimitives.ReadUInt16LittleEndian(source[2..]),
        BinaryPrimitives.ReadUInt16LittleEndian(source[4..]),
        BinaryPrimitives.ReadUInt16LittleEndian(source[6..]),
        BinaryPrimitives.ReadUInt16LittleEndian(source[8..]));

    /// <summary>Writes the ten bytes to the start of <paramref name="destination"/>.</summary>
    public void Write(Span<byte> destination)
    {
        destination[0] = Flags;
        destination[1] = GsoType;
        BinaryPrimitives.WriteUInt16LittleEndian(destination[2..], HeaderBytes);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[4..], SegmentBytes);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[6..], ChecksumStart);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[8..], ChecksumOffset);
    }

    /// <summary>What of <see cref="NetworkOffloads"/> a receiver must know for this frame; null if the header
    /// contradicts itself or a frame of <paramref name="frameBytes"/>.</summary>
    public NetworkOffloads? Required(int frameBytes)
    {
        NetworkOffloads required = NetworkOffloads.None;
        if ((Flags & NeedsChecksum) != 0)
        {
            if (ChecksumStart + ChecksumOffset + 2 > frameBytes)
            {
                return null;
            }

            required |= NetworkOffloads.Checksum;
        }

        if (GsoType != GsoNone)
        {
            // 5.1.6.2: segmentation always comes with the checksum.
            NetworkOffloads kind = (GsoType & ~GsoEcn) switch
            {
                GsoTcp4 => NetworkOffloads.Tso4,
                GsoTcp6 => NetworkOffloads.Tso6,
                _ => NetworkOffloads.None,
            };
            if (kind == NetworkOffloads.None || required == NetworkOffloads.None || SegmentBytes == 0)
            {
                return null;
            }

            required |= kind | ((GsoType & GsoEcn) != 0 ? NetworkOffloads.TsoEcn : NetworkOffloads.None);
        }

        return required;
    }
}
