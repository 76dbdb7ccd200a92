// The machine's side of `--profile FILE`: starts the engine's profile, finds names for the guest's addresses
// and writes the two files when the guest has ended. Made by MachineBuilder, used by RunCommand.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Lhype.Cpu;
using Lhype.Host;
using Lhype.Machine.Boot;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Profile;

/// <summary>The profile of one machine.</summary>
public sealed class GuestProfiling
{
    // Where a kernel that unpacks itself in the guest ends up: somewhere in the first part of RAM.
    private const ulong SearchedBytes = 128 << 20;

    private readonly IVcpu _vcpu;
    private readonly GuestMemory _memory;
    private readonly KernelImage _kernel;
    private readonly GuestProfile _profile = new();

    internal GuestProfiling(IVcpu vcpu, GuestMemory memory, KernelImage kernel)
    {
        _vcpu = vcpu;
        _memory = memory;
        _kernel = kernel;
        vcpu.StartProfile(_profile);
    }

    /// <summary>Writes the report to <paramref name="file"/> and stacks for a flame graph to the same name
    /// with ".folded" added. The vCPU's thread must have ended. Throws LhypeException.</summary>
    public void Write(string file)
    {
        SymbolTable? symbols = FindSymbols();
        ProfileReport report = new(_profile, _vcpu.Statistics, symbols, _kernel.Description);
        try
        {
            File.WriteAllText(file, report.ToText());
            File.WriteAllText(file + ".folded", report.ToFolded());
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new LhypeException($"The profile cannot be written: {error.Message}", error);
        }
    }

    private SymbolTable? FindSymbols() => FromKernelFile() ?? FromSystemMap() ?? FromMemory();

    private SymbolTable? FromKernelFile()
    {
        try
        {
            return SymbolTable.FromElf(
                $"{_kernel.Name} (ELF)", ImageFile.ReadAll(_kernel.Name, "kernel", KernelImage.MaxFileBytes));
        }
        catch (LhypeException)
        {
            // It may have gone or changed since the start; the other places remain.
            return null;
        }
    }

    /// <summary>The System.map that distributions keep beside vmlinuz-VERSION. Some install a placeholder of
    /// one line.</summary>
    private SymbolTable? FromSystemMap()
    {
        string name = Path.GetFileName(_kernel.Name);
        int dash = name.IndexOf('-', StringComparison.Ordinal);
        string file = Path.Combine(Path.GetDirectoryName(_kernel.Name) ?? "",
            "System.map" + (dash < 0 ? "" : name[dash..]));
        try
        {
            using StreamReader reader = File.OpenText(file);
            return SymbolTable.FromSystemMap(file, reader);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private SymbolTable? FromMemory()
    {
        IEnumerable<(ulong Start, ulong Length)> places = _kernel.Kind == KernelKind.LinuxPacked
            ? [(1 << 20, Math.Min(SearchedBytes, _memory.LowSize) - (1 << 20))]
            : _kernel.Segments.Select(segment => (segment.Physical, (ulong)segment.Data.Length));
        foreach ((ulong start, ulong length) in places)
        {
            if (length <= int.MaxValue && _memory.TryGetSpan(start, (int)length, out Span<byte> bytes)
                && Kallsyms.Find(bytes, _kernel.Bits) is { } table)
            {
                return table;
            }
        }

        return null;
    }
}
