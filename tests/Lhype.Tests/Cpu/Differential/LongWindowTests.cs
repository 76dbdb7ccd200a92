// Random 64-bit programs whose data and stack lie all over the user addresses, in a window against the same
// one instruction at a time through the TLBs, which LongDifferentialTests compares with the host. The places
// are those where a window of regions could go wrong: around the border of two regions, at both ends of the
// user addresses, beside what is not canonical, and in more regions than a window has.

using System;
using Lhype.Cpu;
using Lhype.Cpu.Translator;
using Lhype.Tests.Cpu.Oracle;
using Xunit;
using Xunit.Abstractions;

namespace Lhype.Tests.Cpu.Differential;

public sealed class LongWindowTests(ITestOutputHelper output)
{
    private const int Cases = 6000;
    private const ulong TiB = 1UL << 40;

    /// <summary>Where the data is shown too; its fifth page is read-only and the sixth not there.</summary>
    private static readonly ulong[] Places =
    [
        0, TiB - 0x2000, 0x5555_5555_4000, 0x7F12_3456_7000, 0x8000_0000_0000 - 0x5000,
        .. Array.ConvertAll(new ulong[] { 3, 9, 17, 33, 40, 55, 64, 70, 77, 99, 101, 120 },
            tebibyte => (tebibyte * TiB) + (tebibyte * 0x1234_5000)),
    ];

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void WindowAgreesWithTlbs(bool withoutBmi2)
    {
        using var window = new LongHarness(
            new TranslatorEngine { AlwaysWindow = true, AvoidsBmi2 = withoutBmi2, CodeBytes = 4 << 20 });
        using var plain = new LongHarness(
            new TranslatorEngine { MaxBlockInstructions = 1, CodeBytes = 4 << 20 });
        foreach (LongHarness harness in new[] { window, plain })
        {
            foreach (ulong place in Places)
            {
                harness.Map(place, TestLayout.DataOffset, 4, writable: true);
                harness.Map(place + 0x4000, TestLayout.DataOffset + TestLayout.DataLength, 1,
                    writable: false);
            }
        }

        var run = new DifferentialRun<LongCase>("window", c => Difference(window, plain, c));
        string report = run.Run(seed => new LongCase(seed, 24), Cases);
        output.WriteLine($"{run.Cases} cases");
        Assert.True(report.Length == 0, report);
    }

    private static string Difference(LongHarness window, LongHarness plain, LongCase @case)
    {
        // One place for all pointers of a program: a CPU, too, copies strings by the piece, and must not meet
        // the source's bytes under another address in the destination.
        var random = new Random(@case.Seed);
        ulong place = Places[random.Next(Places.Length)];
        var moved = new LongImage { Rip = @case.Cpu.Rip, Rflags = @case.Cpu.Rflags };
        @case.Cpu.Gpr.CopyTo(moved.Gpr, 0);
        @case.Cpu.Fx.CopyTo(moved.Fx, 0);
        moved.FsBase = Move(@case.Cpu.FsBase, place);
        moved.GsBase = Move(@case.Cpu.GsBase, place);
        for (int i = 0; i < 16; i++)
        {
            moved.Gpr[i] = Move(moved.Gpr[i], place);
        }

        if (random.Next(8) == 0)
        {
            // The stack, or a pointer to it, beside what is not canonical.
            moved.Gpr[4] = 0x8000_0000_0000 - (ulong)random.Next(40);
        }

        TestMemory memory = @case.MakeMemory();
        try
        {
            // Faults in the window are the host CPU's own, so it takes the place of the host.
            LongResult expected = window.Run(moved, memory);
            LongResult actual = plain.Run(moved, memory);
            return Latitude.IsUnmaskedStore(expected.Lower(), actual.Lower(), 64) ? ""
                : LongResult.Compare(expected, actual, expected.Completed ? 0 : EflagsBits.Arithmetic);
        }
        catch (InvalidOperationException e)
        {
            return $"  {e.Message}\n";
        }
    }

    private static ulong Move(ulong value, ulong place)
    {
        ulong offset = value - TestLayout.Data;
        return offset < TestLayout.DataLength + 4096 ? place + offset : value;
    }
}
