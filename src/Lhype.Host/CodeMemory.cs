// Memory for emitted host code: one memfd mapped twice, a writable view and an executable view of the same
// bytes. No page is ever writable and executable, and none is toggled by mprotect (2-4 us a call). Owned by
// the translator.

using System;

namespace Lhype.Host;

/// <summary>A code area seen through two mappings. Sizes in bytes; offsets are the same in both
/// views.</summary>
public sealed unsafe class CodeMemory : IDisposable
{
    private byte* _writable;
    private byte* _executable;

    /// <summary>Maps <paramref name="sizeBytes"/> (a multiple of 4096). Throws LhypeException.</summary>
    public CodeMemory(int sizeBytes)
    {
        Size = sizeBytes;
        int fd = Libc.memfd_create("lhype-code", Libc.MFD_CLOEXEC);
        if (fd < 0 || Libc.ftruncate(fd, sizeBytes) != 0)
        {
            throw new LhypeException(
                "The host cannot provide memory for translated code (memfd_create failed).");
        }

        const int WriteView = Libc.PROT_READ | Libc.PROT_WRITE;
        const int ExecuteView = Libc.PROT_READ | Libc.PROT_EXEC;
        nint writable = Libc.mmap(0, (nuint)sizeBytes, WriteView, Libc.MAP_SHARED, fd, 0);
        nint executable = Libc.mmap(0, (nuint)sizeBytes, ExecuteView, Libc.MAP_SHARED, fd, 0);
        _ = Libc.close(fd);
        if (writable == -1 || executable == -1)
        {
            throw new LhypeException(
                "The host refuses executable memory (memfd mapped PROT_EXEC); its security policy forbids "
                + "translated code.");
        }

        _writable = (byte*)writable;
        _executable = (byte*)executable;
    }

    /// <summary>Length of each view in bytes.</summary>
    public int Size { get; }

    /// <summary>The view code is written through.</summary>
    public byte* Writable => _writable;

    /// <summary>The view code runs from.</summary>
    public byte* Executable => _executable;

    /// <summary>Unmaps both views. No thread may be inside the code.</summary>
    public void Dispose()
    {
        if (_writable != null)
        {
            _ = Libc.munmap((nint)_writable, (nuint)Size);
            _ = Libc.munmap((nint)_executable, (nuint)Size);
            _writable = null;
            _executable = null;
        }
    }
}
