// A device, its PCI transport, guest RAM and a bus, with everything the outside sees recorded. The driver
// side of the tests (MockDriver) reaches the device only as a guest does: through configuration space, MMIO
// and RAM.

using System;
using System.Collections.Generic;
using Lhype.Host;
using Lhype.Machine.Bus;
using Lhype.Machine.Pci;
using Lhype.Machine.Virtio;

namespace Lhype.Tests.Machine.Virtio;

internal sealed class VirtioRig : IDisposable
{
    public const uint Window = 0xE000_0000;
    public const ulong RamBytes = 8 << 20;

    private readonly GuestRam _ram;

    public VirtioRig(Func<VirtioRig, VirtioDevice> makeDevice, ulong ramBytes = RamBytes)
    {
        _ram = new GuestRam(ramBytes);
        Memory = new GuestMemory(_ram, (gpa, length) => WrittenRanges.Add((gpa, length)));
        Device = makeDevice(this);
        Transport = new VirtioPciTransport(Device, Bus, Interrupts, Window, 11);
    }

    public GuestMemory Memory { get; }

    public AddressBus Bus { get; } = new();

    public RecordedInterrupts Interrupts { get; } = new();

    public ManualInbox Inbox { get; } = new();

    public VirtioDevice Device { get; }

    public VirtioPciTransport Transport { get; }

    public List<(ulong Gpa, ulong Length)> WrittenRanges { get; } = [];

    public void Dispose() => _ram.Dispose();
}

internal sealed class RecordedInterrupts : IPciInterrupts
{
    public bool Intx { get; private set; }

    public List<(ulong Address, uint Data)> Messages { get; } = [];

    public void SetIntx(bool level) => Intx = level;

    public void SendMessage(ulong address, uint data) => Messages.Add((address, data));
}

/// <summary>An inbox that runs its work when the test says so.</summary>
internal sealed class ManualInbox : IInbox
{
    private readonly Queue<Action> _work = new();

    public int Count => _work.Count;

    public void Post(Action work) => _work.Enqueue(work);

    /// <summary>Runs what waits, not what that posts.</summary>
    public void RunOnce()
    {
        for (int left = _work.Count; left > 0; left--)
        {
            _work.Dequeue()();
        }
    }
}

/// <summary>Entropy that counts, so that a test can tell its bytes.</summary>
internal sealed class CountingEntropy : IEntropy
{
    private byte _next = 1;

    public void Fill(Span<byte> destination)
    {
        foreach (ref byte value in destination)
        {
            value = _next++;
        }
    }
}

/// <summary>A device that returns every request at once, writing one byte.</summary>
internal sealed class EchoDevice : VirtioDevice
{
    public EchoDevice(VirtioRig rig, int queueSize = 8)
        : base(rig.Memory, rig.Inbox, queueCount: 2, queueSize, configBytes: 8) => Config[0] = 0x5A;

    public override ushort Type => 42;

    public override uint ClassCode => 0x00FF00;

    public override ulong DeviceFeatures => 1 << 3;

    public int Served { get; private set; }

    /// <summary>Bytes of work each request claims, for the tests of one go's limit.</summary>
    public long Cost { get; set; }

    public bool Lazy { get; set; }

    public void Change() => ConfigChanged();

    protected override void QueueNotified(Virtqueue queue)
    {
        if (!Lazy)
        {
            Drain(queue);
        }
    }

    protected override long Serve(Virtqueue queue, DescriptorChain chain)
    {
        Served++;
        chain.WriteLast(0xEC);
        queue.Complete(chain, (uint)Math.Min(chain.WritableBytes, 1));
        return Cost;
    }
}
