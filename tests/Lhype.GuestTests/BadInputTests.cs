// What a user can get wrong, through the real binary: one sentence on standard error, the documented exit
// status, and nothing on standard output or left behind.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Xunit;

namespace Lhype.GuestTests;

public sealed class BadInputTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("lhype-guest-test-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory]
    [InlineData(2)]
    [InlineData(2, "frobnicate")]
    [InlineData(2, "run", "--frobnicate")]
    [InlineData(2, "run", "-m", "lots")]
    [InlineData(2, "run", "-c", "2")]
    [InlineData(2, "run", "--net", "bridge")]
    [InlineData(2, "images", "pull", "nothing")]
    [InlineData(1, "run", "/nonexistent/vmlinux")]
    [InlineData(1, "run", "debian-i386", "-i", "/nonexistent/initrd")]
    [InlineData(1, "run", "debian-i386", "-d", "/nonexistent/disk")]
    [InlineData(1, "run", "--config", "/nonexistent/config")]
    [InlineData(1, "run", "debian-amd64", "--cpu", "pentium3")]
    [InlineData(2, "run", "debian-i386", "-m", "4K")]
    [InlineData(1, "run", "debian-i386", "-m", "1M")]
    [InlineData(1, "run", "/")]
    [InlineData(1, "run", "/dev/null")]
    [InlineData(1, "run", "debian-i386", "--net", "hub=/dev/null")]
    public void Errors_are_one_sentence_with_the_documented_status(int status, params string[] arguments) =>
        AssertRefused(status, arguments);

    [Fact]
    public void Damaged_kernels_are_refused()
    {
        string kernel = Kernel();
        byte[] good = File.ReadAllBytes(kernel);
        AssertRefused(1, "run", Write("truncated", good[..(good.Length / 2)]));
        AssertRefused(1, "run", Write("header-only", good[..600]));

        byte[] noise = new byte[1 << 20];
        new Random(20061122).NextBytes(noise);
        AssertRefused(1, "run", Write("noise", noise));

        byte[] damaged = [.. good];
        damaged[good.Length / 2] ^= 0x55;
        AssertRefused(1, "run", Write("damaged", damaged));
    }

    [Fact]
    public void An_initrd_larger_than_memory_is_refused()
    {
        string initrd = Path.Combine(_directory, "initrd");
        using (FileStream file = File.Create(initrd))
        {
            file.SetLength(300L << 20);
        }

        AssertRefused(1, "run", "debian-i386", "-i", initrd);
    }

    [Fact]
    public void A_disk_must_be_whole_sectors()
    {
        AssertRefused(1, "run", "debian-i386", "-d", Write("disk", new byte[1000]));
        AssertRefused(1, "run", "debian-i386", "-d", Write("empty", []));
    }

    [Fact]
    public void A_disk_in_use_is_refused()
    {
        string disk = Write("disk", new byte[1 << 20]);
        using GuestSession first = GuestSession.Start("run", "-d", disk);
        first.Expect(GuestSession.Prompt);
        AssertRefused(1, "run", "-d", disk);
        first.Type("poweroff -f\r");
        Assert.Equal(0, first.Wait());
    }

    [Fact]
    public void A_timeout_has_its_own_status()
    {
        using GuestSession guest = GuestSession.Start("run", "--timeout", "0.2");
        Assert.Equal(4, guest.Wait());
    }

    [Fact]
    public void Dry_run_prints_a_configuration_that_can_be_read_back()
    {
        (int status, string output, _) = GuestSession.Run("run", "--dry-run", "-m", "512M");
        Assert.Equal(0, status);
        string file = Write("config", System.Text.Encoding.UTF8.GetBytes(output));
        (status, string again, _) = GuestSession.Run("run", "--dry-run", "--config", file);
        Assert.Equal(0, status);
        Assert.Equal(output, again);
    }

    [Theory]
    [InlineData("--help")]
    [InlineData("--version")]
    [InlineData("run", "--help")]
    [InlineData("images")]
    public void Information_goes_to_standard_output(params string[] arguments)
    {
        (int status, string output, string error) = GuestSession.Run(arguments);
        Assert.Equal(0, status);
        Assert.NotEmpty(output);
        Assert.Empty(error);
    }

    private static string Kernel()
    {
        (int status, _, string error) = GuestSession.Run("images", "pull", "debian-i386");
        Assert.True(status == 0, error);
        (_, string config, _) = GuestSession.Run("run", "debian-i386", "--dry-run");
        string line = config.Split('\n').First(text => text.Contains("\"kernel\"", StringComparison.Ordinal));
        return line.Split('"')[3];
    }

    private string Write(string name, byte[] content)
    {
        string file = Path.Combine(_directory, name);
        File.WriteAllBytes(file, content);
        return file;
    }

    private static void AssertRefused(int status, params string[] arguments)
    {
        (int actual, string output, string error) = GuestSession.Run(arguments);
        string shown = $"lhype {string.Join(' ', arguments)}\n{error}";
        List<string> sentences = [.. error.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Where(line => !line.EndsWith("...", StringComparison.Ordinal))];
        Assert.True(actual == status, $"{shown}\nended with {actual} instead of {status}");
        Assert.True(sentences is [var only] && only.StartsWith("lhype: ", StringComparison.Ordinal)
            && only.EndsWith('.'), $"{shown}\nis not one sentence");
        Assert.Empty(output);
    }
}
