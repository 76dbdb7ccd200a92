// Reads and writes memory that may vanish at any moment: a mapping of a file that another process can
// truncate, or whose disk is full. The host then raises SIGBUS, which must end neither the process nor the
// guest. So the accesses are a few emitted routines in a range that FaultHandler knows: a fault makes the
// routine return 1 instead. Used by SharedFile only.

using System;

namespace Lhype.Host;

/// <summary>Memory accesses that report a fault instead of raising it.</summary>
internal sealed unsafe class GuardedAccess : IDisposable
{
    private const int CodeBytes = 4096;

    // Every routine: int f(rdi, rsi, rdx), with the fault slots in its frame.
    private const int FrameBytes = 32;

    private readonly CodeMemory _code;
    private readonly IDisposable _registration;
    private readonly delegate* unmanaged<byte*, byte*, nint, int> _copy;
    private readonly delegate* unmanaged<byte*, byte*, nint, int> _load;
    private readonly delegate* unmanaged<byte*, byte*, nint, int> _store;
    private readonly delegate* unmanaged<byte*, byte*, nint, int> _exchange;
    private readonly delegate* unmanaged<byte*, byte*, nint, int> _or;
    private readonly delegate* unmanaged<byte*, byte*, nint, int> _compareExchange;

    /// <summary>Emits the routines. Throws LhypeException.</summary>
    internal GuardedAccess()
    {
        _code = new CodeMemory(CodeBytes);
        StubWriter code = new();
        int[] starts = new int[7];
        Routine(0, [0x48, 0x89, 0xD1, 0xF3, 0xA4]);                     // mov rcx, rdx; rep movsb
        Routine(1, [0x48, 0x8B, 0x07, 0x48, 0x89, 0x06]);               // mov rax, [rdi]; mov [rsi], rax
        Routine(2, [0x48, 0x8B, 0x06, 0x48, 0x89, 0x07]);               // mov rax, [rsi]; mov [rdi], rax
        Routine(3, [0x48, 0x8B, 0x06, 0x48, 0x87, 0x07, 0x48, 0x89, 0x06]);     // ... xchg [rdi], rax ...
        Routine(4, [0x48, 0x8B, 0x06, 0xF0, 0x48, 0x09, 0x07]);                 // ... lock or [rdi], rax
        Routine(5, [0x8B, 0x06, 0xF0, 0x0F, 0xB1, 0x17, 0x89, 0x06]);   // ... lock cmpxchg [rdi], edx ...
        starts[6] = code.Length;
        code.Bytes(0xB8, 1, 0, 0, 0);                                   // mov eax, 1
        Leave();
        byte[] bytes = code.Finish();
        bytes.CopyTo(new Span<byte>(_code.Writable, CodeBytes));

        byte* at = _code.Executable;
        _copy = (delegate* unmanaged<byte*, byte*, nint, int>)(at + starts[0]);
        _load = (delegate* unmanaged<byte*, byte*, nint, int>)(at + starts[1]);
        _store = (delegate* unmanaged<byte*, byte*, nint, int>)(at + starts[2]);
        _exchange = (delegate* unmanaged<byte*, byte*, nint, int>)(at + starts[3]);
        _or = (delegate* unmanaged<byte*, byte*, nint, int>)(at + starts[4]);
        _compareExchange = (delegate* unmanaged<byte*, byte*, nint, int>)(at + starts[5]);
        FaultSlots slots = new(HostPc: 0, Trap: 8, FaultAddress: 16, Error: 24);
        _registration = FaultHandler.Register(at, (nuint)starts[6], at + starts[6], slots);

        void Routine(int number, ReadOnlySpan<byte> body)
        {
            starts[number] = code.Length;
            code.Bytes(0x41, 0x57)                                      // push r15
                .Bytes(0x48, 0x83, 0xEC, FrameBytes)                    // sub  rsp, FrameBytes
                .Bytes(0x49, 0x89, 0xE7)                                // mov  r15, rsp
                .Bytes(body)
                .Bytes(0x31, 0xC0);                                     // xor  eax, eax
            Leave();
        }

        void Leave() =>
            code.Bytes(0x48, 0x83, 0xC4, FrameBytes)                    // add  rsp, FrameBytes
                .Bytes(0x41, 0x5F, 0xC3);                               // pop  r15; ret
    }

    /// <summary>Copies <paramref name="length"/> bytes that do not overlap. False: a part may be
    /// missing.</summary>
    internal bool Copy(byte* destination, byte* source, nint length) =>
        _copy(destination, source, length) == 0;

    /// <summary>Reads eight aligned bytes at once.</summary>
    internal bool Load(byte* address, out ulong value)
    {
        ulong read = 0;
        bool good = _load(address, (byte*)&read, 0) == 0;
        value = read;
        return good;
    }

    /// <summary>Writes eight aligned bytes at once.</summary>
    internal bool Store(byte* address, ulong value) => _store(address, (byte*)&value, 0) == 0;

    /// <summary>Exchanges eight aligned bytes; a full barrier.</summary>
    internal bool Exchange(byte* address, ref ulong value)
    {
        ulong both = value;
        bool good = _exchange(address, (byte*)&both, 0) == 0;
        value = both;
        return good;
    }

    /// <summary>Sets bits of eight aligned bytes; a full barrier.</summary>
    internal bool Or(byte* address, ulong bits) => _or(address, (byte*)&bits, 0) == 0;

    /// <summary>Replaces four aligned bytes if they are <paramref name="seen"/>, which receives what they
    /// were; a full barrier.</summary>
    internal bool CompareExchange(byte* address, ref uint seen, uint value)
    {
        uint both = seen;
        bool good = _compareExchange(address, (byte*)&both, (nint)value) == 0;
        seen = both;
        return good;
    }

    /// <summary>Frees the routines. No thread may be in one.</summary>
    public void Dispose()
    {
        _registration.Dispose();
        _code.Dispose();
    }
}
