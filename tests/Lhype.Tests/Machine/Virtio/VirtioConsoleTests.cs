// The virtio console: output, input with and without buffers, back pressure, size and emergency writes.

using System.IO;
using System.Text;
using Lhype.Machine.Virtio;
using Xunit;

namespace Lhype.Tests.Machine.Virtio;

public sealed class VirtioConsoleTests
{
    private readonly StringBuilder _printed = new();
    private readonly VirtioRig _rig;
    private readonly MockDriver _driver;

    public VirtioConsoleTests()
    {
        _rig = new VirtioRig(rig => new VirtioConsole(rig.Memory, rig.Inbox,
            bytes => _printed.Append(Encoding.Latin1.GetString(bytes)), 132, 43));
        _driver = new MockDriver(_rig);
    }

    private VirtioConsole Console => (VirtioConsole)_rig.Device;

    [Fact]
    public void PrintsWhatTheGuestSends()
    {
        DriverQueue output = _driver.Start()[1];
        ulong page = _driver.AllocatePage();
        Assert.True(_rig.Memory.TryWrite(page, "hello, world"u8));
        output.Add(new DriverBuffer(page, 5, false), new DriverBuffer(page + 5, 7, false));
        output.Notify();
        Assert.Equal("hello, world", _printed.ToString());
        Assert.True(output.TryTakeUsed(out _, out uint written));
        Assert.Equal(0u, written);
    }

    [Theory]
    [InlineData(MockDriver.AllFeatures)]
    [InlineData(1UL << VirtioFeature.Version1)]
    public void InputWaitsForBuffers(ulong features)
    {
        DriverQueue input = _driver.Start(features)[0];
        Assert.Equal(8, Console.Receive("keyboard"u8));
        ulong page = _driver.AllocatePage();
        input.Add(new DriverBuffer(page, 3, true));
        input.Notify();
        input.Add(new DriverBuffer(page + 16, 64, true));
        input.Notify();
        Assert.Equal("key", Text(page, 3));
        Assert.Equal("board", Text(page + 16, 5));
        Assert.True(input.TryTakeUsed(out _, out uint first));
        Assert.True(input.TryTakeUsed(out _, out uint second));
        Assert.Equal((3u, 5u), (first, second));

        // A buffer that waits is used as soon as something is typed.
        input.Add(new DriverBuffer(page + 128, 64, true));
        input.Notify();
        Assert.False(input.TryTakeUsed(out _, out _));
        _driver.ReadIsr();
        input.SetUsedEvent(2);
        Console.Receive("!"u8);
        Assert.Equal(1, _driver.ReadIsr());
        Assert.Equal("!", Text(page + 128, 1));
    }

    [Fact]
    public void RefusesInputItHasNoRoomFor()
    {
        int calls = 0;
        Console.RoomAvailable = () => calls++;
        Assert.Equal(4096, Console.Receive(new byte[5000]));
        Assert.Equal(0, Console.Room);
        Assert.Equal(0, Console.Receive("x"u8));
        Assert.Equal(0, calls);
        DriverQueue input = _driver.Start()[0];
        input.Add(new DriverBuffer(_driver.AllocatePage(2), 8192, true));
        input.Notify();
        Assert.Equal(1, calls);
        Assert.Equal(4096, Console.Room);
    }

    [Fact]
    public void RoomIsNotAnnouncedWhileInputIsGiven()
    {
        DriverQueue input = _driver.Start()[0];
        ulong pages = _driver.AllocatePage(2);
        for (int i = 0; i < 40; i++)
        {
            input.Add(new DriverBuffer(pages + (128 * (ulong)i), 128, true));
        }

        bool giving = false;
        int calls = 0;
        Console.RoomAvailable = () =>
        {
            Assert.False(giving);
            calls++;
        };
        giving = true;
        Assert.Equal(1, Console.Receive("a"u8));
        Assert.Equal(4992 + 4096, Console.Receive(new byte[20000]));
        giving = false;
        Assert.Equal(0, calls);
        input.Add(new DriverBuffer(pages, 1, true));
        input.Notify();
        Assert.Equal(1, calls);
        input.Add(new DriverBuffer(pages, 1, true));
        input.Notify();
        Assert.Equal(1, calls);
    }

    [Fact]
    public void SizeIsShownAndItsChangeAnnounced()
    {
        _driver.Start();
        Assert.Equal(132ul, _driver.Read(4, 0, 2));
        Assert.Equal(43ul, _driver.Read(4, 2, 2));
        Console.Resize(100, 30);
        Assert.Equal(2, _driver.ReadIsr());
        Assert.Equal(100ul, _driver.Read(4, 0, 2));
    }

    [Fact]
    public void TheSizeIsAnnouncedOnceWhenTheConsoleIsInUse()
    {
        Console.Resize(90, 20);
        DriverQueue output = _driver.Start()[1];
        Assert.Equal(0, _driver.ReadIsr() & 2);
        ulong page = _driver.AllocatePage();
        output.Add(new DriverBuffer(page, 1, false));
        output.Notify();
        Assert.Equal(2, _driver.ReadIsr() & 2);
        Assert.Equal(90ul, _driver.Read(4, 0, 2));
        output.Add(new DriverBuffer(page, 1, false));
        output.Notify();
        Assert.Equal(0, _driver.ReadIsr() & 2);
    }

    [Fact]
    public void EmergencyWriteNeedsNoSetUp()
    {
        _driver.Write(4, 8, 4, 'p');
        _driver.Write(4, 8, 1, 'q');
        _driver.Write(4, 4, 4, 'x');
        Assert.Equal("pq", _printed.ToString());
    }

    [Fact]
    public void WaitingInputSurvivesSaveAndRestore()
    {
        Console.Receive("typed early"u8);
        MemoryStream stream = new();
        using BinaryWriter writer = new(stream);
        _rig.Transport.Save(writer);
        stream.Position = 0;
        VirtioRig other = new(rig => new VirtioConsole(rig.Memory, rig.Inbox, _ => { }));
        using BinaryReader reader = new(stream);
        other.Transport.Restore(reader);
        MockDriver driver = new(other);
        DriverQueue input = driver.Start()[0];
        ulong page = driver.AllocatePage();
        input.Add(new DriverBuffer(page, 64, true));
        input.Notify();
        byte[] bytes = new byte[11];
        Assert.True(other.Memory.TryRead(page, bytes));
        Assert.Equal("typed early"u8.ToArray(), bytes);
        other.Dispose();
    }

    private string Text(ulong gpa, int length)
    {
        byte[] bytes = new byte[length];
        Assert.True(_rig.Memory.TryRead(gpa, bytes));
        return Encoding.Latin1.GetString(bytes);
    }
}
