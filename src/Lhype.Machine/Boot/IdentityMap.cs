// The page tables a kernel starts with when it starts in 64-bit mode (SDM vol. 3, 4.5): linear addresses of
// the first 4 GiB are physical ones. The protocol asks for the kernel, the zero page and the command line;
// all of them lie there, whatever the kernel. Called by BootLoader.

using System;
using System.Buffers.Binary;

namespace Lhype.Machine.Boot;

/// <summary>A four-level identity map of 4 GiB by 2 MiB pages, which every CPU with long mode has.</summary>
internal static class IdentityMap
{
    /// <summary>Size of the tables: PML4, page-directory-pointer table and four page directories.</summary>
    public const int SizeBytes = 6 * PageBytes;

    private const int PageBytes = 4096;
    private const int EntryBytes = 8;
    private const int Directories = 4;
    private const ulong LargePageBytes = 2 << 20;
    private const ulong Writable = 0x3;
    private const ulong LargePage = 0x83;

    /// <summary>The tables as they stand at guest-physical <paramref name="address"/>, which is also what CR3
    /// must hold.</summary>
    public static byte[] Make(uint address)
    {
        var tables = new byte[SizeBytes];
        void Put(int table, int index, ulong entry) =>
            BinaryPrimitives.WriteUInt64LittleEndian(
                tables.AsSpan((table * PageBytes) + (index * EntryBytes)), entry);

        Put(0, 0, address + PageBytes + Writable);
        for (int directory = 0; directory < Directories; directory++)
        {
            Put(1, directory, address + ((2 + (ulong)directory) * PageBytes) + Writable);
        }

        for (int page = 0; page < Directories * PageBytes / EntryBytes; page++)
        {
            Put(2, page, ((ulong)page * LargePageBytes) + LargePage);
        }

        return tables;
    }
}
