// The virtio entropy device (virtio 1.2, 5.4): fills the driver's buffers with random bytes. Made by
// MachineBuilder.

using System;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Virtio;

/// <summary>A virtio entropy source.</summary>
public sealed class VirtioRng : VirtioDevice
{
    /// <summary>The most one request gets: 5.4.6 lets the device return less than asked for.</summary>
    private const int MaxBytes = 4096;

    private readonly IEntropy _entropy;

    /// <summary>Makes the device around <paramref name="entropy"/>.</summary>
    public VirtioRng(GuestMemory memory, IInbox inbox, IEntropy entropy)
        : base(memory, inbox, queueCount: 1, queueSize: 8, configBytes: 0) => _entropy = entropy;

    /// <inheritdoc/>
    public override ushort Type => 4;

    /// <inheritdoc/>
    public override uint ClassCode => 0x00FF00;

    /// <inheritdoc/>
    public override ulong DeviceFeatures => 0;

    /// <inheritdoc/>
    protected override long Serve(Virtqueue queue, DescriptorChain chain)
    {
        int done = 0;
        while (done < MaxBytes)
        {
            Span<byte> piece = chain.NextWritable(MaxBytes - done);
            if (piece.IsEmpty)
            {
                break;
            }

            _entropy.Fill(piece);
            chain.Wrote(piece.Length);
            done += piece.Length;
        }

        queue.Complete(chain, (uint)done);
        return done;
    }
}
