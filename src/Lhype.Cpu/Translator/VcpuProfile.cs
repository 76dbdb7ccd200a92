// What `--profile` adds to the vCPU: turns a sample of its thread (a host address and the registers beside
// it) into a place in the guest, as soon as emitted code has come back to C#. Called by
// TranslatorVcpu.RunFrom after every run of emitted code; costs one null check there without a profile.

using System;
using System.Collections.Generic;
using Lhype.Cpu.Mmu;
using Lhype.Host;

namespace Lhype.Cpu.Translator;

internal sealed unsafe partial class TranslatorVcpu
{
    // An odd interval, so as not to march in step with the guest's timer.
    private static readonly TimeSpan SampleInterval = TimeSpan.FromMicroseconds(997);

    private const int MaxCallers = 24;

    /// <summary>Kernels keep a task's stack in an aligned piece of this size; frames elsewhere are
    /// chance.</summary>
    private const uint StackAreaBytes = 8192;

    private GuestProfile? _profile;
    private ThreadSampler? _sampler;

    /// <inheritdoc/>
    public void StartProfile(GuestProfile profile)
    {
        _profile = profile;
        _sampler = new ThreadSampler(_state, CpuState.Offset.Head, SampleInterval);
    }

    private void TakeSample()
    {
        CpuState* then = (CpuState*)_sampler!.Block;
        ulong hostPc = _sampler[HostRegister.Rip];
        ulong offset = hostPc - (ulong)_code.Executable;
        bool emitted = offset < (ulong)_code.Size;

        // Until the shared routines have loaded the guest's registers and after they have stored them, the
        // state holds them. Blocks run in between; of the routines, only those for 32-bit code tell by the
        // page, which no host address looks like.
        bool inBlock = emitted && (int)offset >= _codeEnd && _cache.FindByHost((int)offset) >= 0;
        bool loaded = inBlock || (emitted && _sampler[HostRegister.R13] <= uint.MaxValue);
        ulong codePage = loaded ? _sampler[HostRegister.R13] : then->CodePageBase;
        uint frame = (uint)(loaded ? _sampler[HostRegister.Rbp] : then->Gpr[5]);
        Place place = emitted ? PlaceInCode((int)offset, codePage, Activity.Guest) : PlaceInRoutine(then);
        bool user = place.Mode is { } mode ? (mode & ModeKey.User) != 0 : then->Cpl == 3;
        _profile!.Add(
            new ProfileSample
            {
                Address = place.Address,
                PageOnly = place.PageOnly,
                User = user,
                AddressSpace = then->Cr3,
                Activity = place.Activity,
                Detail = place.Detail,
                Callers = user || (then->Efer & 0x400) != 0 ? [] : Callers(frame),
                BlockStart = place.BlockStart,
                BlockBytes = place.BlockBytes,
                BlockHostBytes = place.BlockHostBytes,
            },
            _sampler.CpuNs);
        _sampler.Release();
    }

    private struct Place
    {
        internal ulong Address;
        internal bool PageOnly;
        internal Activity Activity;
        /// <summary>Mode of the block; without one the CPL counts.</summary>
        internal uint? Mode;
        internal string Detail;
        internal ulong BlockStart;
        internal int BlockBytes;
        internal int BlockHostBytes;
    }

    /// <summary>The guest instruction that host code at <paramref name="offset"/> belongs to, in the linear
    /// page <paramref name="codePage"/>.</summary>
    private Place PlaceInCode(int offset, ulong codePage, Activity activity)
    {
        int index = offset < _codeEnd ? -1 : _cache.FindByHost(offset);
        if (index < 0)
        {
            // A shared routine, or the guard of a jump between pages.
            return new Place
            {
                Address = codePage & ~4095UL,
                PageOnly = true,
                Activity = activity == Activity.Guest ? Activity.Shared : activity,
                Detail = "",
            };
        }

        ref Block block = ref _cache.BlockAt(index);
        int guest = block.MapCount == 0 ? block.GuestOffset
            : _cache.FindInstruction(block, offset).GuestOffset;
        return new Place
        {
            Address = codePage + (ulong)guest,
            Activity = activity,
            Detail = "",
            Mode = block.Page.ModeKey,
            BlockStart = codePage + (ulong)block.GuestOffset,
            BlockBytes = block.GuestLength,
            BlockHostBytes = block.End - block.Start,
        };
    }

    /// <summary>What C# was doing, from the state as it was then.</summary>
    private Place PlaceInRoutine(CpuState* then)
    {
        var activity = (Activity)then->Activity;
        if (activity is Activity.Operand or Activity.Mmio)
        {
            ulong offset = then->ExitHostPc - 1 - (ulong)_code.Executable;
            return PlaceInCode(offset < (ulong)_code.Size ? (int)offset : 0, then->CodePageBase, activity);
        }

        var reason = (ExitReason)then->ExitReason;
        if (reason == ExitReason.Trap && activity is Activity.Guest or Activity.Port
            && _translator.HasTrap((int)then->ExitSite))
        {
            ref TrapSite site = ref _translator.TrapAt((int)then->ExitSite);
            return new Place
            {
                Address = then->CodePageBase + (ulong)site.GuestOffset,
                Mode = _cache.BlockAt(site.Block).Page.ModeKey,
                Activity = activity == Activity.Guest ? Activity.Trap : activity,
                Detail = site.Instruction.Mnemonic.ToString(),
            };
        }

        return new Place
        {
            Address = _memory.Wrap(then->Rip + then->Segment(SegmentRegister.Cs).Base),
            Activity = activity != Activity.Guest ? activity
                : reason is ExitReason.Link or ExitReason.Indirect ? Activity.Jump : Activity.Shared,
            Detail = "",
        };
    }

    /// <summary>Return addresses found along the chain of the kernel's frame pointers from
    /// <paramref name="frame"/>. The guest has run on for a few microseconds since the sample (maybe into
    /// another address space, but the kernel is the same in all), and not all code keeps frame pointers, so
    /// each one must point up the same stack to an address behind a call; the first that does not ends the
    /// walk.</summary>
    private List<ulong> Callers(uint frame)
    {
        List<ulong> callers = [];
        uint area = frame & ~(StackAreaBytes - 1);
        while (callers.Count < MaxCallers && (frame & 3) == 0
            && _memory.TryPeek(frame, 4, out ulong next) && _memory.TryPeek(frame + 4, 4, out ulong caller)
            && FollowsCall((uint)caller))
        {
            callers.Add(caller);
            if (next <= frame || (next & ~(StackAreaBytes - 1UL)) != area)
            {
                break;
            }

            frame = (uint)next;
        }

        return callers;
    }

    /// <summary>CALL rel32, or CALL through a register or memory in one of its 2- to 6-byte forms.</summary>
    private bool FollowsCall(uint address)
    {
        if (!_memory.TryPeek(address - 6, 6, out ulong bytes))
        {
            return false;
        }

        if (((bytes >> 8) & 0xFF) == 0xE8)
        {
            return true;
        }

        for (int length = 2; length <= 6; length++)
        {
            ulong call = bytes >> (8 * (6 - length));
            if ((call & 0xFF) == 0xFF && ((call >> 11) & 7) == 2)
            {
                return true;
            }
        }

        return false;
    }
}
