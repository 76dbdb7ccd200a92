// Writes frames to a file that tcpdump and wireshark read: pcap with times in nanoseconds
// (draft-ietf-opsawg-pcap). Used by CapturedBackend for --pcap. Whole records reach the file at each Flush,
// so that it can be read while the guest runs.

using System;
using System.Buffers.Binary;
using System.IO;
using Lhype.Host;

namespace Lhype.Machine.Net;

/// <summary>A pcap file being written.</summary>
public sealed class PcapFile : IDisposable
{
    private const uint NanosecondMagic = 0xA1B2_3C4D;
    private const ushort MajorVersion = 2, MinorVersion = 4;
    private const uint Ethernet = 1;
    private const int FileHeaderBytes = 24, RecordHeaderBytes = 16;
    private const uint SnapLength = 1 << 18;
    private const long NsPerSecond = 1_000_000_000;

    private readonly FileStream _stream;
    private readonly Action<string> _report;
    private readonly byte[] _buffer = new byte[4 * INetworkBackend.MaxFrame];
    private int _used;
    private bool _failed;

    private PcapFile(FileStream stream, Action<string> report)
    {
        _stream = stream;
        _report = report;
    }

    /// <summary>Creates <paramref name="path"/>, or empties it. <paramref name="report"/> is told once if it
    /// can no longer be written; nothing is recorded from then on. Throws LhypeException.</summary>
    public static PcapFile Create(string path, Action<string> report)
    {
        try
        {
            FileStream stream = new(path, FileMode.Create, FileAccess.Write, FileShare.ReadWrite, 0);
            PcapFile file = new(stream, report);
            file.Begin();
            return file;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException
            or NotSupportedException)
        {
            throw new LhypeException($"The file of --pcap cannot be written: {error.Message}", error);
        }
    }

    /// <summary>Records a frame seen at <paramref name="wallNs"/>, nanoseconds since 1970.</summary>
    public void Write(long wallNs, ReadOnlySpan<byte> frame)
    {
        if (_used + RecordHeaderBytes + frame.Length > _buffer.Length)
        {
            Flush();
        }

        Span<byte> record = _buffer.AsSpan(_used);
        (long seconds, long nanoseconds) = Math.DivRem(wallNs, NsPerSecond);
        BinaryPrimitives.WriteUInt32LittleEndian(record, (uint)seconds);
        BinaryPrimitives.WriteUInt32LittleEndian(record[4..], (uint)nanoseconds);
        BinaryPrimitives.WriteInt32LittleEndian(record[8..], frame.Length);
        BinaryPrimitives.WriteInt32LittleEndian(record[12..], frame.Length);
        frame.CopyTo(record[RecordHeaderBytes..]);
        _used += RecordHeaderBytes + frame.Length;
    }

    /// <summary>Hands what was recorded to the host.</summary>
    public void Flush()
    {
        if (_used == 0)
        {
            return;
        }

        try
        {
            if (!_failed)
            {
                _stream.Write(_buffer.AsSpan(0, _used));
            }
        }
        catch (IOException error)
        {
            _failed = true;
            _report($"the file of --pcap can no longer be written: {error.Message.TrimEnd('.')}");
        }

        _used = 0;
    }

    /// <summary>Writes the rest and closes the file.</summary>
    public void Dispose()
    {
        Flush();
        _stream.Dispose();
    }

    private void Begin()
    {
        Span<byte> header = stackalloc byte[FileHeaderBytes];
        header.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(header, NanosecondMagic);
        BinaryPrimitives.WriteUInt16LittleEndian(header[4..], MajorVersion);
        BinaryPrimitives.WriteUInt16LittleEndian(header[6..], MinorVersion);
        BinaryPrimitives.WriteUInt32LittleEndian(header[16..], SnapLength);
        BinaryPrimitives.WriteUInt32LittleEndian(header[20..], Ethernet);
        _stream.Write(header);
    }
}
