// What every virtio device has, whatever the transport: a type, feature bits, a configuration space and
// queues. A device derives from this and says how it serves one request; the transport (VirtioPciTransport)
// does the rest.

using System;
using System.IO;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Virtio;

/// <summary>Feature bits that belong to no device type (virtio 1.2, 6).</summary>
public static class VirtioFeature
{
    /// <summary>Legacy: the device accepts any split of a request into buffers.</summary>
    public const int AnyLayout = 27;
    /// <summary>Descriptors may point to a table of descriptors.</summary>
    public const int IndirectDesc = 28;
    /// <summary>Both sides say by ring index when they want to be called.</summary>
    public const int EventIdx = 29;
    /// <summary>Virtio 1.0 or later, not legacy.</summary>
    public const int Version1 = 32;
}

/// <summary>What a device asks of the transport it is plugged into.</summary>
public interface IVirtioTransport
{
    /// <summary>True while the device may touch its queues: the driver said DRIVER_OK, the device is not
    /// broken, and it may access memory.</summary>
    bool Running { get; }

    /// <summary>The feature bits both sides agreed on.</summary>
    ulong Features { get; }

    /// <summary>True for drivers of Linux 2.6.24: their block requests begin with 24 bytes (virtio later
    /// dropped the last 8) and their network headers are 8 bytes long, without hdr_len.</summary>
    bool OldestHeaders => false;

    /// <summary>Sends the interrupt of a queue.</summary>
    void InterruptQueue(int index);

    /// <summary>Says that the configuration space changed.</summary>
    void ConfigChanged();

    /// <summary>Sets DEVICE_NEEDS_RESET; <paramref name="reason"/> is kept for people who debug their
    /// driver.</summary>
    void Fail(string reason);
}

/// <summary>A virtio device without its transport.</summary>
public abstract class VirtioDevice : ISaveable
{
    /// <summary>Bytes of work per go. A guest can ask for gigabytes with one notification; after this many
    /// the rest waits in the inbox, so that timers, keys and a stop request get their turn.</summary>
    private const long GoBytes = 16 << 20;

    /// <summary>What a request costs beyond its data.</summary>
    private const long RequestCost = 4096;

    private readonly Virtqueue[] _queues;
    private readonly Action[] _continue;
    private readonly bool[] _posted;
    private readonly DescriptorChain _chain;
    private readonly IInbox _inbox;
    private readonly byte[] _config;
    private IVirtioTransport? _transport;

    /// <summary>Makes the device with <paramref name="queueCount"/> queues of at most
    /// <paramref name="queueSize"/> entries (a power of two) and <paramref name="configBytes"/> of
    /// configuration space.</summary>
    protected VirtioDevice(GuestMemory memory, IInbox inbox, int queueCount, int queueSize, int configBytes)
    {
        _inbox = inbox;
        _config = new byte[configBytes];
        _queues = new Virtqueue[queueCount];
        _continue = new Action[queueCount];
        _posted = new bool[queueCount];
        for (int i = 0; i < queueCount; i++)
        {
            int index = i;
            _queues[i] = new Virtqueue(this, memory, i, queueSize);
            _continue[i] = () => Continue(index);
        }

        _chain = new DescriptorChain(queueSize);
    }

    /// <summary>Virtio device type (virtio 1.2, 5).</summary>
    public abstract ushort Type { get; }

    /// <summary>PCI class code, 24 bits.</summary>
    public abstract uint ClassCode { get; }

    /// <summary>Feature bits of the device type that are offered (bits 0-23 and 50-127).</summary>
    public abstract ulong DeviceFeatures { get; }

    /// <summary>Feature bits offered besides <see cref="DeviceFeatures"/> to drivers from before virtio
    /// 1.0.</summary>
    public virtual ulong LegacyFeatures => 0;

    /// <summary>The queues.</summary>
    public ReadOnlySpan<Virtqueue> Queues => _queues;

    /// <summary>Size of the configuration space in bytes; 0 if the type has none.</summary>
    public int ConfigBytes => _config.Length;

    /// <summary>True while the queues may be used.</summary>
    public bool Running => _transport is { Running: true };

    /// <summary>True if both sides agreed on feature <paramref name="bit"/>.</summary>
    public bool Negotiated(int bit) => _transport != null && ((_transport.Features >> bit) & 1) != 0;

    /// <summary>Reads one byte of configuration space; 0 outside.</summary>
    public byte ReadConfig(int offset) => offset < _config.Length ? _config[offset] : (byte)0;

    /// <summary>The driver writes configuration space. Most fields are read-only, and so is this.</summary>
    public virtual void WriteConfig(int offset, int size, uint value)
    {
    }

    /// <summary>Ends the use of the device until the driver resets it.</summary>
    public void Fail(string reason) => _transport?.Fail(reason);

    /// <inheritdoc/>
    public virtual void Save(BinaryWriter writer) => writer.Write(_config);

    /// <inheritdoc/>
    public virtual void Restore(BinaryReader reader)
    {
        if (reader.Read(_config) != _config.Length)
        {
            throw new InvalidDataException("A saved virtio device ends early.");
        }
    }

    /// <summary>Plugs the device into a transport, once.</summary>
    internal void Attach(IVirtioTransport transport) => _transport = transport;

    internal void InterruptQueue(int index) => _transport?.InterruptQueue(index);

    /// <summary>The driver notified a queue, or everything it could have notified before counts now
    /// (DRIVER_OK, restore).</summary>
    internal void Notify(int index)
    {
        if (Running && _queues[index].Enabled)
        {
            QueueNotified(_queues[index]);
        }
    }

    /// <summary>The driver reset the device: forget all requests.</summary>
    internal void Reset()
    {
        foreach (Virtqueue queue in _queues)
        {
            queue.Reset();
        }

        DeviceReset();
    }

    /// <summary>The driver uses the headers of Linux 2.6.24.</summary>
    protected bool OldestHeaders => _transport is { OldestHeaders: true };

    /// <summary>The configuration space, for the device to fill in.</summary>
    protected Span<byte> Config => _config;

    /// <summary>The driver put something into <paramref name="queue"/>. Runs <see cref="Serve"/> for each
    /// request.</summary>
    protected virtual void QueueNotified(Virtqueue queue) => Drain(queue);

    /// <summary>Serves one request and completes it, now or later. Returns the bytes moved, as a measure of
    /// the time it took.</summary>
    protected abstract long Serve(Virtqueue queue, DescriptorChain chain);

    /// <summary>Called at reset.</summary>
    protected virtual void DeviceReset()
    {
    }

    /// <summary>Tells the driver that <see cref="Config"/> changed.</summary>
    protected void ConfigChanged() => _transport?.ConfigChanged();

    /// <summary>Serves what waits in <paramref name="queue"/>, up to one go's worth.</summary>
    protected void Drain(Virtqueue queue)
    {
        long left = GoBytes;
        queue.SuppressNotifications();
        do
        {
            while (queue.TryPop(_chain))
            {
                left -= RequestCost + Serve(queue, _chain);
                if (left <= 0)
                {
                    queue.Signal();
                    Postpone(queue.Index);
                    return;
                }
            }
        }
        while (!queue.ResumeNotifications());

        queue.Signal();
    }

    private void Postpone(int index)
    {
        if (!_posted[index])
        {
            _posted[index] = true;
            _inbox.Post(_continue[index]);
        }
    }

    private void Continue(int index)
    {
        _posted[index] = false;
        Notify(index);
    }
}
