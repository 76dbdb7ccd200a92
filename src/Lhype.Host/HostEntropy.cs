// Randomness from the host's kernel: seeds for the guest's pool, the virtio entropy device. Machine wraps it
// as IEntropy, so that a replay can put recorded bytes in its place.

using System;

namespace Lhype.Host;

/// <summary>Random bytes from getrandom(2).</summary>
public static unsafe class HostEntropy
{
    /// <summary>Fills <paramref name="destination"/>. Throws LhypeException if the host has no
    /// randomness.</summary>
    public static void Fill(Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            nint count;
            fixed (byte* bytes = destination)
            {
                count = Libc.getrandom(bytes, (nuint)destination.Length, 0);
            }

            if (count < 0 && Libc.Errno != Libc.EINTR)
            {
                throw new LhypeException($"The host gives no random numbers: {Libc.Describe(Libc.Errno)}.");
            }

            destination = destination[(int)Math.Max(count, 0)..];
        }
    }
}
