// Ctrl-A belongs to the tool, everything else to the guest, however the bytes are cut up on the way.

using System;
using System.Collections.Generic;
using Lhype.Terminal;
using Xunit;

namespace Lhype.Tests.Terminal;

public sealed class EscapeKeysTests
{
    [Theory]
    [InlineData("ls\r", "ls\r", "")]
    [InlineData("a\u0001xb", "ab", "Quit ")]
    [InlineData("\u0001h\u0001c", "", "Help Monitor ")]
    [InlineData("\u0001\u0001", "\u0001", "")]
    [InlineData("\u0001z", "\u0001z", "")]
    [InlineData("\u0001d", "\u0001d", "")]
    [InlineData("x\u0003y\u0001", "x\u0003y", "")]
    public void SplitsKeysFromCommands(string typed, string guest, string commands) =>
        Split(viewer: false, typed, guest, commands);

    [Theory]
    [InlineData("a\u0001dz", "az", "Quit ")]
    [InlineData("\u0001x\u0001\u0004", "", "Quit Quit ")]
    [InlineData("\u0001h\u0001c", "\u0001c", "Help ")]
    public void AViewersKeysDetach(string typed, string guest, string commands) =>
        Split(viewer: true, typed, guest, commands);

    private static void Split(bool viewer, string typed, string guest, string commands)
    {
        for (int cut = 1; cut <= typed.Length; cut++)
        {
            EscapeKeys keys = new(viewer);
            List<byte> toGuest = [];
            string seen = "";
            byte[] bytes = System.Text.Encoding.Latin1.GetBytes(typed);
            for (int at = 0; at < bytes.Length; at += cut)
            {
                ReadOnlySpan<byte> part = bytes.AsSpan(at, Math.Min(cut, bytes.Length - at));
                while (!part.IsEmpty)
                {
                    EscapeCommand command = keys.Take(ref part, toGuest);
                    seen += command == EscapeCommand.None ? "" : command + " ";
                }
            }

            Assert.Equal(guest, System.Text.Encoding.Latin1.GetString([.. toGuest]));
            Assert.Equal(commands, seen);
        }
    }

    [Fact]
    public void MonitorRunsCommandsAndGivesTheKeysBack()
    {
        Target target = new();
        Lhype.Terminal.Monitor monitor = new(new Messages(), target);
        monitor.Open();
        List<byte> keys = [.. "pausx\u007fe\rinfo\rresume\rquit\rrest"u8];
        monitor.Take(keys);
        Assert.False(monitor.IsOpen);
        Assert.Equal("pause info resume ", target.Calls);
        Assert.Equal("rest"u8.ToArray(), keys);
    }

    private sealed class Target : IMonitorTarget
    {
        internal string Calls { get; private set; } = "";

        public void ShowInfo() => Calls += "info ";

        public void SetPaused(bool paused) => Calls += paused ? "pause " : "resume ";

        public void Stop() => Calls += "stop ";
    }
}
