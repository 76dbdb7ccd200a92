// Directories of one user alone, and files whose lock says that their owner lives.

using System;
using System.Diagnostics;
using System.IO;
using System.Runtime.Versioning;
using Lhype.Host;
using Xunit;

namespace Lhype.Tests.Host;

[SupportedOSPlatform("linux")]
public sealed class PrivateDirectoryTests : IDisposable
{
    private readonly string _parent = Directory.CreateTempSubdirectory("lhype-private-").FullName;

    public void Dispose() => Directory.Delete(_parent, recursive: true);

    [Fact]
    public void EnsureMakesWhatIsMissingForThisUserAlone()
    {
        string path = Path.Combine(_parent, "mine");
        Assert.False(PrivateDirectory.Exists(path));
        PrivateDirectory.Ensure(path);
        PrivateDirectory.Ensure(path);
        Assert.True(PrivateDirectory.Exists(path));
        Assert.True(PrivateDirectory.IsOwn(path));
        Assert.Equal((UnixFileMode)0b111_000_000, File.GetUnixFileMode(path));
    }

    [Fact]
    public void WhereNothingCanBeMadeASentenceSaysSo()
    {
        LhypeException error = Assert.Throws<LhypeException>(
            () => PrivateDirectory.Ensure(Path.Combine(_parent, "missing", "mine")));
        Assert.Contains("XDG_RUNTIME_DIR", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void WhatAnotherUserPlantedIsRefused()
    {
        if (PrivateDirectory.UserId != 0)
        {
            return;     // only root can make a directory of another user
        }

        string path = Path.Combine(_parent, "planted");
        PrivateDirectory.Ensure(path);
        using (Process chown = Process.Start("chown", ["65534", path]))
        {
            chown.WaitForExit();
        }

        Assert.False(PrivateDirectory.IsOwn(path));
        LhypeException error = Assert.Throws<LhypeException>(() => PrivateDirectory.Ensure(path));
        Assert.Contains("belongs to another user", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ALockHasOneHolderAndGoesWithIt()
    {
        string path = Path.Combine(_parent, "state");
        Assert.Null(LockFile.Open(path, create: false));
        LockFile owner = LockFile.Open(path, create: true)!;
        Assert.True(owner.TryLock());
        owner.WriteText("a longer text");
        owner.WriteText("text");

        using LockFile other = LockFile.Open(path, create: false)!;
        Assert.False(other.TryLock());
        Assert.False(other.Lock(TimeSpan.FromMilliseconds(30)));
        Assert.Equal("text", other.ReadText(100));
        Assert.Equal("te", other.ReadText(2));
        owner.Dispose();
        Assert.True(other.TryLock());
    }
}
