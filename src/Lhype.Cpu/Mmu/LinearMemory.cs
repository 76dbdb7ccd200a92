// Linear-address accesses made by C# (exception delivery, segment loads, instructions without an emitted form) and the
// slow path of emitted code. It owns the software TLBs that emitted code reads inline.

using System;
using Lhype.Host;

namespace Lhype.Cpu.Mmu;

/// <summary>Access to guest memory by linear address, through paging and the TLBs of one vCPU.</summary>
public sealed unsafe partial class LinearMemory
{
    private readonly CpuState* _state;
    private readonly GuestRam _ram;
    private readonly ICpuBus _bus;

    internal LinearMemory(CpuState* state, GuestRam ram, ICpuBus bus)
    {
        _state = state;
        _ram = ram;
        _bus = bus;
        FlushAll();
    }

    /// <summary>Reads <paramref name="size"/> (1, 2, 4, 8) bytes, little endian, with the privilege of CPL 3 if
    /// <paramref name="user"/>. False: #PF recorded, nothing read.</summary>
    public bool TryRead(ulong linear, int size, bool user, out ulong value)
    {
        ulong local = 0;
        bool done = TryReadBytes(linear, (byte*)&local, size, user);
        value = local;
        return done;
    }

    /// <summary>Writes the low <paramref name="size"/> (1, 2, 4, 8) bytes. False: #PF recorded, nothing
    /// written.</summary>
    public bool TryWrite(ulong linear, int size, ulong value, bool user) =>
        TryWriteBytes(linear, (byte*)&value, size, user);

    /// <summary>Checks that a write of <paramref name="size"/> bytes would succeed, setting A and D bits as it would.
    /// Used to check everything an instruction will store before it commits anything.</summary>
    public bool TryProbeWrite(ulong linear, int size, bool user)
    {
        ulong last = Wrap(linear + (ulong)size - 1);
        return PageWalk.TryTranslate(_state, _ram, linear, AccessKind.Write, user, out _)
            && ((linear ^ last) < 4096 || PageWalk.TryTranslate(_state, _ram, last & ~4095UL, AccessKind.Write, user, out _));
    }

    /// <summary>Reads any number of bytes up to 4096. False: #PF recorded.</summary>
    public bool TryReadBytes(ulong linear, byte* destination, int size, bool user)
    {
        throw new NotImplementedException();
    }

    /// <summary>Writes any number of bytes up to 4096, all or nothing. False: #PF recorded.</summary>
    public bool TryWriteBytes(ulong linear, byte* source, int size, bool user)
    {
        throw new NotImplementedException();
    }

    /// <summary>Forgets every translation (CR0.PG, CR4 paging bits changed; or CR3 load without PGE).</summary>
    public void FlushAll()
    {
    }

    /// <summary>Forgets every translation that is not global (CR3 load).</summary>
    public void FlushNonGlobal()
    {
    }

    /// <summary>Forgets one page, global or not (INVLPG).</summary>
    public void FlushPage(ulong linear)
    {
    }

    /// <summary>Linear addresses wrap at 4 GiB outside long mode.</summary>
    private ulong Wrap(ulong linear) => (_state->Efer & 0x400) != 0 ? linear : (uint)linear;
}
