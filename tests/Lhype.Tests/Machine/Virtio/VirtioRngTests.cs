// The virtio entropy device gives what its source gives, in bounded portions.

using Lhype.Machine.Virtio;
using Xunit;

namespace Lhype.Tests.Machine.Virtio;

public sealed class VirtioRngTests
{
    [Fact]
    public void FillsBuffersFromItsSource()
    {
        using VirtioRig rig = new(it => new VirtioRng(it.Memory, it.Inbox, new CountingEntropy()));
        MockDriver driver = new(rig);
        DriverQueue queue = driver.Start()[0];
        ulong page = driver.AllocatePage(16);
        queue.Add(new DriverBuffer(page, 3, true), new DriverBuffer(page + 8, 2, true));
        queue.Add(new DriverBuffer(page + 4096, 60000, true));
        queue.Add(new DriverBuffer(page, 8, false));
        queue.Notify();
        byte[] bytes = new byte[10];
        Assert.True(rig.Memory.TryRead(page, bytes));
        Assert.Equal([1, 2, 3, 0, 0, 0, 0, 0, 4, 5], bytes);
        Assert.True(queue.TryTakeUsed(out _, out uint first));
        Assert.True(queue.TryTakeUsed(out _, out uint second));
        Assert.True(queue.TryTakeUsed(out _, out uint third));
        Assert.Equal((5u, 4096u, 0u), (first, second, third));
        Assert.False(driver.Broken);
    }
}
