// The directory of running domains: names and numbers stay unique, the dead vanish, and a directory that is
// not this user's alone is refused.

using System;
using System.IO;
using System.Linq;
using System.Runtime.Versioning;
using Lhype.Host;
using Lhype.Machine;
using Lhype.Machine.Control;
using Xunit;

namespace Lhype.Tests.Machine.Control;

[SupportedOSPlatform("linux")]
public sealed class DomainDirectoryTests : IDisposable
{
    private readonly string _parent = Directory.CreateTempSubdirectory("lhype-control-").FullName;
    private readonly string _path;
    private readonly DomainDirectory _directory;

    public DomainDirectoryTests()
    {
        _path = Path.Combine(_parent, "lhype");
        _directory = new DomainDirectory(_path);
    }

    public void Dispose() => Directory.Delete(_parent, recursive: true);

    [Fact]
    public void ListsWhatIsRegisteredUntilItIsDisposed()
    {
        Assert.Empty(_directory.List());
        using (DomainRegistration registration = _directory.Register(Config("one", id: "7")))
        {
            DomainState state = Assert.Single(_directory.List());
            Assert.Equal(registration.State, state);
            Assert.Equal(("one", 7, Environment.ProcessId), (state.Name, state.Id, state.Pid));
            Assert.Equal(state, _directory.Find("one"));
            Assert.Equal(state, _directory.Find("7"));
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute,
                File.GetUnixFileMode(_path));
        }

        Assert.Empty(_directory.List());
        Assert.Equal([Path.Combine(_path, "lock")], Directory.GetFiles(_path));
        Assert.Throws<LhypeException>(() => _directory.Find("one"));
    }

    [Fact]
    public void AutomaticNamesGetANumberChosenOnesAnError()
    {
        using DomainRegistration first = _directory.Register(Config("vm", auto: true));
        using DomainRegistration second = _directory.Register(Config("vm", auto: true));
        using DomainRegistration third = _directory.Register(Config("vm", auto: true));
        Assert.Equal(["vm", "vm-2", "vm-3"], _directory.List().Select(domain => domain.Name));
        Assert.Equal([1001, 1002, 1003], _directory.List().Select(domain => domain.Id));
        LhypeException error = Assert.Throws<LhypeException>(() => _directory.Register(Config("vm")));
        Assert.Contains("vm is running already", error.Message, StringComparison.Ordinal);
        Assert.EndsWith(".", error.Message, StringComparison.Ordinal);

        second.Dispose();
        using DomainRegistration again = _directory.Register(Config("vm", auto: true));
        Assert.Equal(("vm-2", 1002), (again.State.Name, again.State.Id));
    }

    [Fact]
    public void AChosenNumberMustBeFree()
    {
        using DomainRegistration first = _directory.Register(Config("a", id: "3"));
        LhypeException error = Assert.Throws<LhypeException>(() => _directory.Register(Config("b", id: "3")));
        Assert.Contains("number 3", error.Message, StringComparison.Ordinal);
        Assert.Single(_directory.List());
    }

    [Fact]
    public void ANameThatLooksLikeANumberIsFoundFirst()
    {
        using DomainRegistration named = _directory.Register(Config("2", id: "1"));
        using DomainRegistration numbered = _directory.Register(Config("x", id: "2"));
        Assert.Equal(1, _directory.Find("2").Id);
        Assert.Equal("2", _directory.Find("1").Name);
    }

    [Fact]
    public void WhatAKilledProcessLeftIsRemovedAndItsPlaceFree()
    {
        using (_directory.Register(Config("alive", id: "1")))
        {
            string json = File.ReadAllText(Path.Combine(_path, "1.json"));
            File.WriteAllText(Path.Combine(_path, "2.json"), json.Replace("alive", "dead",
                StringComparison.Ordinal).Replace("\"id\":1", "\"id\":2", StringComparison.Ordinal));
            File.WriteAllText(Path.Combine(_path, "2.socket"), "");
            Assert.Equal("alive", Assert.Single(_directory.List()).Name);
            Assert.False(File.Exists(Path.Combine(_path, "2.json")));
            Assert.False(File.Exists(Path.Combine(_path, "2.socket")));
        }

        // And without a list in between.
        File.WriteAllText(Path.Combine(_path, "1.json"), "rubbish");
        File.WriteAllText(Path.Combine(_path, "1.socket"), "");
        using DomainRegistration again = _directory.Register(Config("alive", id: "1"));
        Assert.Equal(1, again.State.Id);
    }

    [Fact]
    public void StrangeFilesDisturbNobody()
    {
        using DomainRegistration one = _directory.Register(Config("one"));
        File.WriteAllText(Path.Combine(_path, "x.json"), "{}");
        File.WriteAllText(Path.Combine(_path, "99999999999999999999.json"), "{}");
        File.WriteAllText(Path.Combine(_path, "note.txt"), "");
        Assert.Single(_directory.List());
    }

    [Fact]
    public void ADirectoryOthersMayEnterIsRefused()
    {
        Directory.CreateDirectory(_path);
        File.SetUnixFileMode(_path, (UnixFileMode)0b111_101_101);
        Refused("open to other users");
    }

    [Fact]
    public void ALinkOrAFileIsRefused()
    {
        string target = Path.Combine(_parent, "target");
        Directory.CreateDirectory(target);
        File.SetUnixFileMode(target, (UnixFileMode)0b111_000_000);
        File.CreateSymbolicLink(_path, target);
        Refused("not a directory");
        File.Delete(_path);
        File.WriteAllText(_path, "");
        Refused("not a directory");
    }

    [Fact]
    public void APathTooLongForASocketIsRefused()
    {
        string deep = Path.Combine(_parent, new string('d', 100));
        LhypeException error = Assert.Throws<LhypeException>(
            () => new DomainDirectory(deep).Register(Config("one")));
        Assert.Contains("too long", error.Message, StringComparison.Ordinal);
        Assert.Empty(new DomainDirectory(deep).List());
    }

    private static MachineConfig Config(string name, bool auto = false, string? id = null) =>
        new() { Kernel = "/k", Name = name, AutoName = auto, Id = id };

    private void Refused(string reason)
    {
        foreach (Action use in (Action[])[() => _directory.List(), () => _directory.Register(Config("one"))])
        {
            LhypeException error = Assert.Throws<LhypeException>(use);
            Assert.Contains(reason, error.Message, StringComparison.Ordinal);
            Assert.EndsWith(".", error.Message, StringComparison.Ordinal);
        }
    }
}
