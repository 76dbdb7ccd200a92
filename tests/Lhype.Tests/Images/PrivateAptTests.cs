// Which mirror a pull uses, for the sources hosts really have.

using Lhype.Images;
using Xunit;

namespace Lhype.Tests.Images;

public sealed class PrivateAptTests
{
    [Fact]
    public void The_host_s_own_release_of_the_same_name_comes_first() =>
        Assert.Equal("http://b/debian", PrivateApt.PickMirror(
        [
            "trixie main http://a/debian/", "bookworm contrib http://c/debian/",
                "bookworm main http://b/debian/",
        ]));

    [Fact]
    public void Another_debian_release_has_the_same_archive() =>
        Assert.Equal("https://a/debian",
            PrivateApt.PickMirror(["trixie-updates main x", "trixie main https://a/debian/"]));

    [Fact]
    public void Derivatives_and_add_on_sources_are_not_used() =>
        Assert.Null(
            PrivateApt.PickMirror(
                ["noble main http://archive.example/ubuntu/", "bookworm-security main s", "", "x"]));
}
