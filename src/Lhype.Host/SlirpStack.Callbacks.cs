// What libslirp calls back. All of it comes on the network's own thread, from within the calls SlirpStack
// makes, with the handle of the object as "opaque". An exception could not pass the C frames and would end
// the process, so nothing here can throw but for a bug of ours.

using System;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using static Lhype.Host.SlirpLibrary;

namespace Lhype.Host;

public sealed unsafe partial class SlirpStack
{
    private static void FillCallbacks(SlirpCb* callbacks)
    {
        callbacks->send_packet = &SendPacket;
        callbacks->guest_error = &GuestError;
        callbacks->clock_get_ns = &ClockGetNs;
        callbacks->timer_new = &TimerNew;
        callbacks->timer_free = &TimerFree;
        callbacks->timer_mod = &TimerMod;
        callbacks->register_poll_fd = &PollFdChanged;
        callbacks->unregister_poll_fd = &PollFdChanged;
        callbacks->notify = &Notify;
    }

    private static SlirpStack From(nint opaque) =>
        Unsafe.As<SlirpStack>(GCHandle.FromIntPtr(opaque).Target!);

    // A full ring drops the frame, as the library expects of a busy guest: TCP sends it again.
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static nint SendPacket(byte* frame, nuint length, nint opaque)
    {
        if (length <= int.MaxValue)
        {
            From(opaque)._toGuest.TryWrite(new ReadOnlySpan<byte>(frame, (int)length));
        }

        return (nint)length;
    }

    // A frame the library could make no sense of. A guest may send as many as it likes: nobody is told.
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void GuestError(byte* message, nint opaque)
    {
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static long ClockGetNs(nint opaque) => HostClock.MonotonicNs();

    // The only timer of the library is the one for IPv6 router advertisements, and IPv6 is off.
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static nint TimerNew(nint callback, nint argument, nint opaque)
    {
        Invariant.Fail("libslirp wants a timer although IPv6 is off");
        return 0;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void TimerFree(nint timer, nint opaque)
    {
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void TimerMod(nint timer, long expireMs, nint opaque) =>
        Invariant.Fail("libslirp sets a timer although IPv6 is off");

    // Wait asks for all descriptors every time, so there is nothing to note.
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void PollFdChanged(int fd, nint opaque)
    {
    }

    // "Look at the sockets again": that comes next in any case.
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Notify(nint opaque)
    {
    }

    // Called by slirp_pollfds_fill for each descriptor to wait for; the answer is its index for GetEvents.
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int AddPoll(int fd, int events, nint opaque)
    {
        SlirpStack stack = From(opaque);
        if (stack._pollCount == stack._pollCapacity)
        {
            stack._pollCapacity *= 2;
            stack._polls = (Libc.pollfd_t*)NativeMemory.Realloc(stack._polls,
                (nuint)stack._pollCapacity * (nuint)sizeof(Libc.pollfd_t));
        }

        int wanted = ((events & SLIRP_POLL_IN) != 0 ? Libc.POLLIN : 0)
            | ((events & SLIRP_POLL_OUT) != 0 ? Libc.POLLOUT : 0)
            | ((events & SLIRP_POLL_PRI) != 0 ? Libc.POLLPRI : 0);
        stack._polls[stack._pollCount] = new Libc.pollfd_t { fd = fd, events = (short)wanted };
        return stack._pollCount++;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int GetEvents(int index, nint opaque)
    {
        SlirpStack stack = From(opaque);
        Invariant.Check((uint)index < (uint)stack._pollCount, "libslirp asks for descriptors it gave");
        int events = stack._polls[index].revents;
        return ((events & Libc.POLLIN) != 0 ? SLIRP_POLL_IN : 0)
            | ((events & Libc.POLLOUT) != 0 ? SLIRP_POLL_OUT : 0)
            | ((events & Libc.POLLPRI) != 0 ? SLIRP_POLL_PRI : 0)
            | ((events & Libc.POLLERR) != 0 ? SLIRP_POLL_ERR : 0)
            | ((events & Libc.POLLHUP) != 0 ? SLIRP_POLL_HUP : 0);
    }
}
