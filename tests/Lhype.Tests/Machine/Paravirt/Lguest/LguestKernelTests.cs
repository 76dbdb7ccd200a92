// Loading of paravirtual guests: the bzImage of dialect A, boot data in memory, page tables made by the host.

using System;
using System.Buffers.Binary;
using System.IO;
using System.IO.Compression;
using Lhype.Host;
using Lhype.Machine;
using Lhype.Machine.Boot;
using Lhype.Machine.Bus;
using Lhype.Machine.Paravirt.Lguest;
using Xunit;

namespace Lhype.Tests.Machine.Paravirt.Lguest;

public sealed class LguestKernelTests
{
    private const int Text = 0x100;

    [Fact]
    public void OldBzImageIsUnpackedAndEnteredBehindTheText()
    {
        KernelImage image = KernelImage.Parse("old", MakeBzImage(MakeFlatKernel()), cache: null);
        LguestKernel kernel = LguestKernel.From(image, LguestGeneration.A);
        Assert.Equal(0xC000_0000u, kernel.PageOffset);
        Assert.Equal(0xC010_0000u + Text + 13, kernel.Entry);
        KernelSegment segment = Assert.Single(kernel.Segments);
        Assert.Equal(0x10_0000u, segment.Physical);
        Assert.Equal(0x1000, segment.Data.Length);
    }

    [Fact]
    public void OldBzImageWithoutTheTextIsRefused()
    {
        byte[] flat = MakeFlatKernel();
        flat[Text] = (byte)'g';
        KernelImage image = KernelImage.Parse("old", MakeBzImage(flat), cache: null);
        LhypeException error =
            Assert.Throws<LhypeException>(() => LguestKernel.From(image, LguestGeneration.A));
        Assert.Contains("GenuineLguest", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void InitrdEndsAtTheTopAndItsSizeIsRounded()
    {
        const uint Top = 4 << 20;
        using GuestRam ram = new(Top, videoHole: false);
        GuestMemory memory = new(ram, (_, _) => { });
        KernelImage image = KernelImage.Parse("old", MakeBzImage(MakeFlatKernel()), cache: null);
        LguestKernel kernel = LguestKernel.From(image, generation: null);
        byte[] disk = [1, 2, 3, 4, 5];
        InitrdFile[] disks = [new("disk", disk), new("more", disk)];
        uint end = LguestLoader.Load(image, kernel, "a b", disks, memory, Top, tableBytes: 8192);
        Assert.Equal(Top - 4096, end);
        Assert.Equal(end, Read(memory, 0x218));
        Assert.Equal(4096u, Read(memory, 0x21C));
        Assert.Equal(0xFFu, Read(memory, 0x210) & 0xFF);
        Assert.Equal(0x0403_0201u, Read(memory, end));
        Assert.Equal(0x0403_0201u, Read(memory, end + 8));
        Assert.Equal(4096u, Read(memory, 0x228));
        Assert.Equal(0x0062_2061u, Read(memory, 4096));
    }

    [Fact]
    public void TooLittleMemoryIsOneSentence()
    {
        const uint Top = 1 << 20;
        using GuestRam ram = new(Top, videoHole: false);
        GuestMemory memory = new(ram, (_, _) => { });
        KernelImage image = KernelImage.Parse("old", MakeBzImage(MakeFlatKernel()), cache: null);
        LguestKernel kernel = LguestKernel.From(image, generation: null);
        LhypeException error = Assert.Throws<LhypeException>(
            () => LguestLoader.Load(image, kernel, "", [], memory, Top, 8192));
        Assert.Contains("--memory", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void TablesMapAllRamTwice(bool extended)
    {
        const uint Top = 5 << 20;
        const uint PageOffset = 0x8000_0000;
        using GuestRam ram = new(Top, videoHole: false);
        GuestMemory memory = new(ram, (_, _) => { });
        uint top = LguestTables.Build(memory, LguestEntryPaging.Both, Top, Top, PageOffset, extended);
        Assert.Equal(Top - LguestTables.BytesFor(Top, extended), top);
        Assert.Equal(extended, LguestTables.LooksExtended(memory, top));
        for (uint page = 0; page < Top; page += 4096)
        {
            Assert.Equal(page | 7, Walk(memory, top, page, extended));
            Assert.Equal(page | 7, Walk(memory, top, PageOffset + page, extended));
        }

        Assert.Equal(0u, Walk(memory, top, Top, extended));
    }

    [Fact]
    public void EmptyAndOrdinaryTablesAreNotExtended()
    {
        using GuestRam ram = new(1 << 20, videoHole: false);
        GuestMemory memory = new(ram, (_, _) => { });
        Assert.False(LguestTables.LooksExtended(memory, 0x1000));
        Assert.True(memory.TryWriteUInt32(0x1000, 0x2067));
        Assert.False(LguestTables.LooksExtended(memory, 0x1000));
        Assert.True(memory.TryWriteUInt32(0x1000, 0x2001));
        Assert.True(LguestTables.LooksExtended(memory, 0x1000));
        Assert.True(LguestTables.LooksExtended(memory, 0x1020));
    }

    [Fact]
    public void CommandLineHasNoPcInIt()
    {
        MachineConfig config = new()
        {
            Kernel = "k",
            Machine = BoardKind.Lhype,
            Disks = [new DiskConfig { File = "d" }],
            Append = "quiet",
        };
        string line = MachineBuilder.CommandLineFor(config, KernelKind.Linux);
        Assert.Contains("console=hvc0", line, StringComparison.Ordinal);
        Assert.Contains("root=/dev/vda", line, StringComparison.Ordinal);
        Assert.DoesNotContain("ttyS0", line, StringComparison.Ordinal);
        MachineConfig old = config with { LguestAbi = LguestGeneration.A };
        line = MachineBuilder.CommandLineFor(old, KernelKind.Linux);
        Assert.Contains("root=/dev/lgba", line, StringComparison.Ordinal);
    }

    private static uint Read(GuestMemory memory, uint gpa)
    {
        Assert.True(memory.TryReadUInt32(gpa, out uint value));
        return value;
    }

    // The hardware's walk, with the low words of entries only.
    private static uint Walk(GuestMemory memory, uint top, uint linear, bool extended)
    {
        if (!extended)
        {
            uint directory = Read(memory, top + (linear >> 22 << 2));
            return directory == 0 ? 0 : Read(memory, (directory & ~4095u) + ((linear >> 12 & 1023) << 2));
        }

        uint pointer = Read(memory, top + (linear >> 30 << 3));
        uint middle = Read(memory, (pointer & ~4095u) + ((linear >> 21 & 511) << 3));
        return middle == 0 ? 0 : Read(memory, (middle & ~4095u) + ((linear >> 12 & 511) << 3));
    }

    // A flat kernel image: MOV EAX, [C0xxxxxx] four times, and the text.
    private static byte[] MakeFlatKernel()
    {
        byte[] flat = new byte[0x1000];
        for (int i = 0; i < 4; i++)
        {
            flat[i * 8] = 0xA1;
            BinaryPrimitives.WriteUInt32LittleEndian(flat.AsSpan((i * 8) + 1), 0xC020_0000);
        }

        "GenuineLguest"u8.CopyTo(flat.AsSpan(Text));
        return flat;
    }

    // A bzImage of boot protocol 2.06, which has no payload field: one setup sector, a decoy gzip header, the
    // packed kernel.
    private static byte[] MakeBzImage(byte[] flat)
    {
        using MemoryStream packed = new();
        packed.Write([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0]);
        using (GZipStream gzip = new(packed, CompressionLevel.Fastest, leaveOpen: true))
        {
            gzip.Write(flat);
        }

        packed.Write(new byte[32]);
        byte[] image = new byte[1024 + packed.Length];
        image[0x1F1] = 1;
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(0x1F4), (uint)packed.Length / 16);
        image[0x1FE] = 0x55;
        image[0x1FF] = 0xAA;
        image[0x201] = 0x60;
        "HdrS"u8.CopyTo(image.AsSpan(0x202));
        BinaryPrimitives.WriteUInt16LittleEndian(image.AsSpan(0x206), 0x206);
        image[0x211] = 1;
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(0x22C), 0x37FF_FFFF);
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(0x238), 255);
        packed.ToArray().CopyTo(image.AsSpan(1024));
        return image;
    }
}
