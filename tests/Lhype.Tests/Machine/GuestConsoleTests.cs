// The console passes bytes unchanged both ways, remembers last words, and never loses typed bytes it
// accepted.

using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Lhype.Machine;
using Lhype.Machine.Bus;
using Xunit;

namespace Lhype.Tests.Machine;

public sealed class GuestConsoleTests
{
    [Fact]
    public void OutputIsUnchangedAndTheLastLineRemembered()
    {
        List<byte> seen = [];
        GuestConsole console = new(bytes => seen.AddRange(bytes));
        byte[] text = Encoding.UTF8.GetBytes("\e[31mone\r\ntwo \0\xff\r\n  \r\n");
        foreach (byte value in text)
        {
            console.Print(value);
        }

        Assert.Equal(text, seen);
        Assert.StartsWith("two ", console.LastLine, StringComparison.Ordinal);
        Assert.True(console.AtLineStart);
        console.Print("\e[1;32mlogin\e[0m: \e7\e[6n"u8);
        Assert.Equal("login:", console.LastLine);
        Assert.False(console.AtLineStart);
    }

    [Fact]
    public void PanicIsNoticed()
    {
        GuestConsole console = new(_ => { });
        console.Print("[    1.234] Kernel panic - not syncing: VFS\r\n---[ end ]---\r\n"u8);
        Assert.Equal("Kernel panic - not syncing: VFS", console.PanicLine);
    }

    [Fact]
    public void TypedBytesWaitForRoomInOrder()
    {
        GuestConsole console = new(_ => { });
        List<byte> taken = [];
        int room = 3;
        console.Connect(new ImmediateInbox(), value =>
        {
            if (room == 0)
            {
                return false;
            }

            room--;
            taken.Add(value);
            return true;
        });
        Assert.Equal(6, console.Type("abcdef"u8));
        Assert.Equal("abc"u8.ToArray(), taken);
        room = 10;
        console.Feed();
        Assert.Equal("abcdef"u8.ToArray(), taken);

        room = 0;
        byte[] much = Enumerable.Range(0, GuestConsole.InputCapacity + 10).Select(i => (byte)i).ToArray();
        Assert.Equal(GuestConsole.InputCapacity, console.Type(much));
        Assert.Equal(0, console.Type("x"u8));
    }

    [Fact]
    public void TheDeviceHearsOfANewSize()
    {
        GuestConsole console = new(_ => { });
        console.Resize(1, 1);
        (int, int) size = default;
        console.Connect(new ImmediateInbox(), _ => true, (columns, rows) => size = (columns, rows));
        console.Resize(132, 50);
        Assert.Equal((132, 50), size);
    }

    [Fact]
    public void SeveralTypistsTogetherFillNoMoreThanThereIs()
    {
        GuestConsole console = new(_ => { });
        console.Connect(new ImmediateInbox(), _ => false);
        int taken = 0;
        Parallel.For(0, 8, _ =>
        {
            for (int i = 0; i < 40; i++)
            {
                Interlocked.Add(ref taken, console.Type(new byte[1000]));
            }
        });
        Assert.InRange(taken, GuestConsole.InputCapacity - 8000, GuestConsole.InputCapacity);
    }

    private sealed class ImmediateInbox : IInbox
    {
        private readonly Lock _gate = new();

        public void Post(Action work)
        {
            lock (_gate)
            {
                work();
            }
        }
    }
}
