// The devices of paravirtual guests, with the guests of guest/lguest/devices: every dialect finds and uses
// its disk, entropy source and console; guests of all dialects and a PC meet on one netfile; a guest that
// breaks a rule ends with the reason.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using Xunit;

namespace Lhype.GuestTests;

public sealed class LguestDeviceTests : IDisposable
{
    private const int DiskBytes = 256 << 10;

    private readonly string _directory = Directory.CreateTempSubdirectory("lhype-guest-test-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory]
    [InlineData("A")]
    [InlineData("B")]
    [InlineData("C")]
    [InlineData("D")]
    [InlineData("E")]
    [InlineData("F")]
    public void Every_dialect_uses_its_devices(string dialect)
    {
        string disk = Path.Combine(_directory, "disk");
        File.WriteAllBytes(disk, new byte[DiskBytes]);
        using GuestSession guest = GuestSession.Start(
            "run", Build(dialect, "basic"), "-m", "16", "-d", disk, "--timeout", "60");
        guest.Expect("type a line\n");
        guest.Type("a line of text\n");
        guest.Expect("echo: ");
        Assert.True(guest.Wait() == 0, guest.Output + guest.Error);
        AssertPassed(guest.Output);
        Assert.Contains("a line of text\n", guest.Output, StringComparison.Ordinal);

        // What the guest wrote four times from sector 8 on.
        byte[] bytes = File.ReadAllBytes(disk);
        byte[] pattern = [.. Enumerable.Range(0, 8192).Select(i => (byte)((i * 13) + ((i >> 8) * 7) + 1))];
        Assert.Equal(DiskBytes, bytes.Length);
        for (int i = 0; i < 4; i++)
        {
            Assert.Equal(pattern, bytes.AsSpan(4096 + (8192 * i), 8192).ToArray());
        }

        Assert.False(bytes.AsSpan(4096 + (4 * 8192)).ContainsAnyExcept((byte)0));
    }

    [Fact]
    public void All_dialects_and_a_PC_share_a_netfile()
    {
        string[] kinds = ["A", "B", "C", "D", "E", "F", "P"];
        string hub = Path.Combine(_directory, "netfile");
        File.WriteAllBytes(hub, new byte[4096]);
        List<GuestSession> guests = [];
        try
        {
            for (int i = 0; i < kinds.Length; i++)
            {
                string[] debugExit = kinds[i] == "P" ? ["--debug-exit"] : [];
                guests.Add(GuestSession.Start(["run", Build(kinds[i], "net"), "-m", "16",
                    "--net", $"hub={hub}", "--name", $"guest{i + 1}",
                    "--append", $"id={i + 1} peers={kinds.Length - 1}", "--timeout", "100", .. debugExit]));
            }

            foreach (GuestSession guest in guests)
            {
                guest.Wait();
                AssertPassed(guest.Output + guest.Error);
            }
        }
        finally
        {
            guests.ForEach(guest => guest.Dispose());
        }
    }

    [Theory]
    [InlineData("A", 1, "crosses a page")]
    [InlineData("A", 2, "a piece of a DMA structure is not in RAM")]
    [InlineData("A", 3, "a DMA structure is not in RAM")]
    [InlineData("A", 4, "BIND_DMA of a key")]
    [InlineData("A", 5, "SEND_DMA to a key")]
    [InlineData("A", 6, "without a bound buffer")]
    [InlineData("A", 7, "a bound DMA structure is not in RAM")]
    [InlineData("B", 1, "NOTIFY of 10ff000")]
    [InlineData("B", 4, "the available index jumped")]
    [InlineData("E", 1, "NOTIFY of 10ff000")]
    [InlineData("E", 2, "NOTIFY of 1000001")]
    [InlineData("E", 3, "NOTIFY of fffffffc")]
    [InlineData("E", 4, "the available index jumped")]
    [InlineData("E", 5, "a descriptor index is outside its table")]
    [InlineData("E", 6, "a buffer is empty or not in RAM")]
    [InlineData("E", 7, "a descriptor chain loops")]
    public void A_guest_that_breaks_a_rule_ends_with_the_reason(string dialect, int crime, string reason)
    {
        string disk = Path.Combine(_directory, "disk");
        File.WriteAllBytes(disk, new byte[DiskBytes]);
        (int status, string output, string error) = GuestSession.Run("run", Build(dialect, "misuse"),
            "-m", "16", "-d", disk, "--append", $"misuse={crime}", "--timeout", "60");
        Assert.Equal(3, status);
        Assert.Contains(reason, error, StringComparison.Ordinal);
        Assert.DoesNotContain("alive", output, StringComparison.Ordinal);
        Assert.DoesNotContain("FAIL", output, StringComparison.Ordinal);
    }

    private static void AssertPassed(string output)
    {
        Assert.True(output.Contains("PASSED\n", StringComparison.Ordinal), output);
        Assert.DoesNotContain("FAIL", output, StringComparison.Ordinal);
    }

    private string Build(string dialect, string program)
    {
        string script = Path.Combine(GuestProgram.SourceTree, "guest", "lguest", "devices", "dev-build.sh");
        ProcessStartInfo start = new("/bin/sh", [script, _directory, dialect, program])
        {
            RedirectStandardError = true,
        };
        using Process process = Process.Start(start)!;
        string errors = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, errors);
        return Path.Combine(_directory, $"dev-{program}-{dialect}.elf");
    }
}
