// Every kernel format is recognised from its content, unpacks to the bytes that were packed, and tells the
// physical entry point; everything else is refused with one sentence that names the file.

using System;
using Lhype.Host;
using Lhype.Machine.Boot;
using Xunit;

namespace Lhype.Tests.Machine.Boot;

public sealed class KernelImageTests
{
    public static TheoryData<string> Compressions => ["none", "gzip", "zstd", "lz4"];

    [Theory]
    [MemberData(nameof(Compressions))]
    public void BzImagePayloadIsUnpackedAndItsElfRead(string compression)
    {
        byte[] elf = TestImages.Elf32();
        byte[] payload = compression switch
        {
            "gzip" => TestImages.Gzip(elf),
            "zstd" => TestImages.Zstd(elf),
            "lz4" => TestImages.Lz4Legacy(elf),
            _ => elf,
        };

        KernelImage kernel = KernelImage.Parse("k", TestImages.BzImage(payload), cache: null);

        Assert.Equal(KernelKind.Linux, kernel.Kind);
        Assert.Equal(32, kernel.Bits);
        Assert.Equal(TestImages.LoadAddress + 16UL, kernel.Entry);
        KernelSegment segment = Assert.Single(kernel.Segments);
        Assert.Equal(TestImages.LoadAddress, segment.Physical);
        Assert.Equal(TestImages.MakeCode(TestImages.CodeBytes), segment.Data.ToArray());
        Assert.Equal(TestImages.CodeBytes + 4096UL, segment.MemorySize);
        Assert.Equal($"bzImage 2.15, {compression}, 32-bit, Linux 9.8.7-test (a@b) #1", kernel.Description);
    }

    [Fact]
    public void XzVectorsDecodeToTheTextTheyWereMadeFrom()
    {
        byte[] expected = TestImages.MakeCode(TestImages.CodeBytes);
        byte[][] vectors = [TestImages.XzWithBranchFilter(), TestImages.XzOddProperties()];
        foreach (byte[] packed in vectors)
        {
            var output = new byte[expected.Length];
            Assert.True(XzDecoder.TryDecode(packed, output, out int length, out string reason), reason);
            Assert.Equal(expected.Length, length);
            Assert.Equal(expected, output);
        }
    }

    [Fact]
    public void XzIsRefusedWhenAnyByteOfItsDataChanges()
    {
        byte[] packed = TestImages.XzWithBranchFilter();
        var output = new byte[TestImages.CodeBytes];
        int accepted = 0;
        for (int i = 12; i < 1240; i++)
        {
            packed[i] ^= 0x40;
            accepted += XzDecoder.TryDecode(packed, output, out _, out _) ? 1 : 0;
            packed[i] ^= 0x40;
        }

        Assert.Equal(0, accepted);
    }

    [Fact]
    public void XzLargerThanItsOutputIsRefused()
    {
        Assert.False(XzDecoder.TryDecode(TestImages.XzWithBranchFilter(), new byte[2999], out _, out _));
    }

    [Fact]
    public void BzImageWithoutAPayloadTheHostKnowsUnpacksItself()
    {
        byte[] image = TestImages.BzImage("BZh91AY unknown here"u8.ToArray());

        KernelImage kernel = KernelImage.Parse("k", image, cache: null);

        Assert.Equal(KernelKind.LinuxPacked, kernel.Kind);
        Assert.Equal(0x10_0000UL, kernel.Entry);
        Assert.Equal(0x12_0000UL, kernel.ReservedEnd);
    }

    [Fact]
    public void OldProtocolUnpacksItself()
    {
        byte[] image = TestImages.BzImage(TestImages.Gzip(TestImages.Elf32()), version: 0x0202);

        KernelImage kernel = KernelImage.Parse("k", image, cache: null);

        Assert.Equal(KernelKind.LinuxPacked, kernel.Kind);
        Assert.Equal(255, kernel.CommandLineMax);
        Assert.Equal(0x37FF_FFFFu, kernel.InitrdAddressMax);
    }

    [Fact]
    public void BareElfIsLinux()
    {
        KernelImage kernel = KernelImage.Parse("k", TestImages.Elf32(), cache: null);

        Assert.Equal(KernelKind.Linux, kernel.Kind);
        Assert.Equal(TestImages.LoadAddress + 16UL, kernel.Entry);
    }

    [Fact]
    public void VirtualEntryBecomesPhysical()
    {
        byte[] elf = TestImages.Elf32(entry: TestImages.VirtualAddress + 8);

        Assert.Equal(TestImages.LoadAddress + 8UL, KernelImage.Parse("k", elf, cache: null).Entry);
    }

    [Fact]
    public void SixtyFourBitKernelIsDescribed()
    {
        KernelImage kernel = KernelImage.Parse("k", TestImages.Elf64(), cache: null);

        Assert.Equal(64, kernel.Bits);
        Assert.Equal("ELF, 64-bit", kernel.Description);
    }

    [Fact]
    public void BareElfWithThePvhNoteStartsByPvhAndOneInABzImageDoesNot()
    {
        KernelImage bare = KernelImage.Parse("k", TestImages.Elf64Pvh(), cache: null);
        KernelImage inside = KernelImage.Parse("k", TestImages.BzImage(TestImages.Elf64Pvh()), cache: null);

        Assert.Equal((KernelKind.Pvh, TestImages.LoadAddress + 32UL), (bare.Kind, bare.PvhEntry));
        Assert.Equal("ELF, 64-bit, PVH", bare.Description);
        Assert.Equal((KernelKind.Linux, (ulong)TestImages.LoadAddress), (inside.Kind, inside.Entry));
    }

    [Fact]
    public void MultibootIsRecognisedInBothForms()
    {
        KernelImage elf = KernelImage.Parse("k", TestImages.MultibootElf(), cache: null);
        KernelImage kludge = KernelImage.Parse("k", TestImages.MultibootKludge(), cache: null);

        Assert.Equal(KernelKind.Multiboot, elf.Kind);
        Assert.Equal(TestImages.LoadAddress + 32UL, elf.Entry);
        Assert.Equal(KernelKind.Multiboot, kludge.Kind);
        Assert.Equal(TestImages.LoadAddress + 64UL, kludge.Entry);
        Assert.Equal(256UL + 4096, Assert.Single(kludge.Segments).MemorySize);
    }

    [Fact]
    public void GzippedKernelFileIsUnpackedFirst()
    {
        KernelImage kernel = KernelImage.Parse("k", TestImages.Gzip(TestImages.MultibootElf()), cache: null);

        Assert.Equal(KernelKind.Multiboot, kernel.Kind);
    }

    public static TheoryData<string, byte[], string> BadImages => new()
    {
        { "empty", [], "is empty" },
        { "text", "#!/bin/sh\n"u8.ToArray(), "is no kernel" },
        { "ARM", TestImages.Elf32(machine: 40), "for ARM" },
        { "AArch64", TestImages.Elf32(machine: 183), "for AArch64" },
        { "half an ELF", TestImages.Elf32()[..1000], "is truncated" },
        { "half a header", TestImages.Elf32()[..30], "is truncated" },
        { "entry outside", TestImages.Elf32(entry: 0x1234), "entry point 0x1234" },
        { "PVH entry outside", TestImages.Elf64Pvh(entry: 0x1234), "PVH entry point 0x1234" },
        { "half a bzImage", TestImages.BzImage(TestImages.Gzip(TestImages.Elf32()))[..2700], "is truncated" },
        { "damaged xz", XzImage(500, 3000), "damaged" },
        { "no ELF inside", XzImage(1292, 3000), "not an ELF" },
        { "size lie", XzImage(1292, 3001), "instead of 3001" },
        { "huge size", XzImage(1292, -1), "4294967295 bytes" },
        { "zImage", TestImages.BzImage([1], version: 0x0200), "too old" },
    };

    private static byte[] XzImage(int packedBytes, int claimedBytes) => TestImages.BzImage(
        TestImages.WithSize(TestImages.XzWithBranchFilter()[..packedBytes], claimedBytes));

    [Theory]
    [MemberData(nameof(BadImages))]
    public void BadImageIsRefusedInOneSentence(string what, byte[] image, string expected)
    {
        var e = Assert.Throws<LhypeException>(() => KernelImage.Parse("some/file", image, cache: null));

        Assert.True(e.Message.Contains(expected, StringComparison.Ordinal), $"{what}: {e.Message}");
        Assert.Contains("some/file", e.Message, StringComparison.Ordinal);
        Assert.EndsWith(".", e.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("\n", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void MissingFileAndDirectoryAreRefused()
    {
        Assert.Contains("There is no kernel", Assert.Throws<LhypeException>(
            () => KernelImage.Load("/nonexistent/vmlinuz", cache: null)).Message, StringComparison.Ordinal);
        Assert.Contains("is a directory", Assert.Throws<LhypeException>(
            () => KernelImage.Load("/", cache: null)).Message, StringComparison.Ordinal);
    }
}
