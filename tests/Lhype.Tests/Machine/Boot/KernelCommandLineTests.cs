// The assembled command line: defaults are there, the user's words win and come last, nothing is added when
// not wanted.

using Lhype.Machine.Boot;
using Xunit;

namespace Lhype.Tests.Machine.Boot;

public sealed class KernelCommandLineTests
{
    private const string Middle =
        "cryptomgr.notests noisapnp initcall_blacklist=init_acpi_pm_clocksource reboot=t";

    private const string Defaults = "console=ttyS0 " + Middle + " panic=-1 quiet";

    [Theory]
    [InlineData("", Defaults)]
    [InlineData("  ", Defaults)]
    [InlineData("single", Defaults + " single")]
    [InlineData("console=hvc0", Middle + " panic=-1 quiet console=hvc0")]
    [InlineData("loglevel=7", "console=ttyS0 " + Middle + " panic=-1 loglevel=7")]
    [InlineData("panic=5 debug", "console=ttyS0 " + Middle + " panic=5 debug")]
    [InlineData("x=\"console=tty0 b\"", Defaults + " x=\"console=tty0 b\"")]
    [InlineData("-- panic=3", Defaults + " -- panic=3")]
    public void DefaultsGiveWayToTheUsersWords(string user, string expected)
    {
        Assert.Equal(expected, KernelCommandLine.Assemble(KernelKind.Linux, [], user, automatic: true));
    }

    [Fact]
    public void ExtraWordsFollowTheDefaultsAndGiveWayToo()
    {
        string line = KernelCommandLine.Assemble(
            KernelKind.Linux, ["root=/dev/vda", "tsc_early_khz=1"], "root=/dev/vdb tsc-early-khz=2", true);

        Assert.Equal(Defaults + " root=/dev/vdb tsc-early-khz=2", line);
    }

    [Theory]
    [InlineData(KernelKind.Linux, false)]
    [InlineData(KernelKind.Multiboot, true)]
    public void NothingIsAddedWhenNotWanted(KernelKind kind, bool automatic)
    {
        Assert.Equal("a b", KernelCommandLine.Assemble(kind, ["root=/dev/vda"], " a b ", automatic));
    }

    [Fact]
    public void QuotesKeepAWordTogether()
    {
        Assert.Equal(["a", "b=\"c d\"", "e"], KernelCommandLine.SplitWords(" a  b=\"c d\"\te "));
    }
}
