// A stream that only writes a descriptor. The runtime's own streams for standard output and error are no use
// to a tool whose standard output belongs to a guest: Console's send terminal set-up sequences there, and
// FileStream writes at positions of its own, over what the guest printed into the same file.

using System;
using System.IO;

namespace Lhype.Host;

/// <summary>Unbuffered writes to an open descriptor, which stays the caller's.</summary>
public sealed unsafe class DescriptorStream : Stream
{
    private readonly int _fd;

    /// <summary>Wraps <paramref name="fd"/>.</summary>
    public DescriptorStream(int fd) => _fd = fd;

    /// <inheritdoc/>
    public override bool CanRead => false;

    /// <inheritdoc/>
    public override bool CanSeek => false;

    /// <inheritdoc/>
    public override bool CanWrite => true;

    /// <inheritdoc/>
    public override long Length => throw new NotSupportedException();

    /// <inheritdoc/>
    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <summary>Writes all of <paramref name="buffer"/>. Throws <see cref="IOException"/> if the descriptor
    /// takes no more.</summary>
    public override void Write(ReadOnlySpan<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            nint count;
            fixed (byte* bytes = buffer)
            {
                count = Libc.write(_fd, bytes, (nuint)buffer.Length);
            }

            int errno = count < 0 ? Libc.Errno : 0;
            if (errno == Libc.EAGAIN)
            {
                Libc.pollfd_t wait = new() { fd = _fd, events = Libc.POLLOUT };
                _ = Libc.poll(&wait, 1, -1);
            }
            else if (errno != 0 && errno != Libc.EINTR)
            {
                throw new IOException(Libc.Describe(errno));
            }

            buffer = buffer[(int)Math.Max(count, 0)..];
        }
    }

    /// <inheritdoc/>
    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    /// <inheritdoc/>
    public override void Flush()
    {
    }

    /// <inheritdoc/>
    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void SetLength(long value) => throw new NotSupportedException();
}
