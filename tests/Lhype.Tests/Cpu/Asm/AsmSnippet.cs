// Reads the files of tests/asm (i386) and tests/asm64 and assembles them. Format, in comment lines at the top
// of a GNU as file in Intel syntax:
//   # One or two sentences: what is checked and where the manual says so.
//   # init: eax=1 ecx=DATA+8 eflags=0x203 fs=DATA     start registers (others 0, esp in the stack)
//   # mem: DATA+16 01 02 0xff                         bytes in memory (the rest is a fixed pattern)
//   # vary: eax ecx flags st xmm                      also run with pseudo-random values in these, 16 times
//   # expect: eax=2 zf=1 [DATA+16]=0x4020 vector=14   what must hold at the end of the run from `init`
//   # known-gap: #AC is not raised                    fails translated; told when it does no more
//   # kernel: no                                      do not run at CPL 0 (the result depends on CPL)
// CODE, DATA, READONLY, STACK and ALIAS are symbols for both header and code. The harness adds a closing HLT.
// 64-bit code has rax to r15, runs at CPL 3 only, and must end inside its code: it runs in this process.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Linq;
using Lhype.Tests.Cpu.Oracle;

namespace Lhype.Tests.Cpu.Asm;

/// <summary>One file of tests/asm or tests/asm64, assembled.</summary>
internal sealed class AsmSnippet
{
    private static readonly (string Name, uint Value)[] Symbols =
    [
        ("CODE", TestLayout.Code), ("DATA", TestLayout.Data), ("READONLY", TestLayout.ReadOnly),
        ("STACK", TestLayout.Stack), ("ALIAS", TestLayout.Alias),
    ];

    /// <summary>Folder of the i386 snippets.</summary>
    internal static string Folder { get; } = FindFolder("asm");

    /// <summary>Folder of the 64-bit snippets.</summary>
    internal static string Folder64 { get; } = FindFolder("asm64");

    private static readonly Lazy<IReadOnlyDictionary<string, AsmSnippet>> Snippets = new(() =>
        LoadAll(Folder, "as --32", "ld -m elf_i386"));

    private static readonly Lazy<IReadOnlyDictionary<string, AsmSnippet>> Snippets64 = new(() =>
        LoadAll(Folder64, "as --64", "ld -m elf_x86_64"));

    private readonly List<(uint Address, byte[] Bytes)> _memory = [];
    private readonly List<(string Name, ulong Value)> _init = [];

    private AsmSnippet(string name) => Name = name;

    /// <summary>File name without extension.</summary>
    internal string Name { get; }
    internal byte[] Code { get; private set; } = [];
    internal IReadOnlyList<string> Vary { get; private set; } = [];
    internal bool RunsInKernel { get; private set; } = true;
    internal bool IsKnownGap { get; private set; }
    internal List<(string Name, ulong Value)> Expectations { get; } = [];

    /// <summary>All i386 snippets by name, assembled on first use.</summary>
    internal static IReadOnlyDictionary<string, AsmSnippet> All => Snippets.Value;

    /// <summary>All 64-bit snippets.</summary>
    internal static IReadOnlyDictionary<string, AsmSnippet> All64 => Snippets64.Value;

    /// <summary>Start state number <paramref name="variation"/>; 0 is exactly `init`.</summary>
    internal (CpuImage Cpu, TestMemory Memory) Start(int variation)
    {
        var cpu = new CpuImage();
        foreach ((string name, ulong value) in _init)
        {
            SetRegister(cpu, name, (uint)value);
        }

        if (variation != 0)
        {
            StateVariation.Apply(cpu, Vary, new Random((variation * 7919) + Name.Length));
        }

        return (cpu, MakeMemory());
    }

    /// <summary>The same of a 64-bit snippet.</summary>
    internal (LongImage Cpu, TestMemory Memory) Start64(int variation)
    {
        var cpu = new LongImage();
        cpu.Gpr[4] = TestLayout.StackPointer;
        foreach ((string name, ulong value) in _init)
        {
            SetRegister(cpu, name, value);
        }

        if (variation != 0)
        {
            StateVariation.Apply(cpu, Vary, new Random((variation * 7919) + Name.Length));
        }

        return (cpu, MakeMemory());
    }

    private TestMemory MakeMemory()
    {
        var memory = new TestMemory();
        memory.FillPattern();
        Code.CopyTo(memory.Code);
        memory.Code[Code.Length] = 0xF4;
        foreach ((uint address, byte[] bytes) in _memory)
        {
            bytes.CopyTo(memory.Bytes, TestLayout.OffsetOf(address));
        }

        return memory;
    }

    private static void SetRegister(LongImage cpu, string name, ulong value)
    {
        int index = Array.IndexOf(LongImage.GprNames, name);
        if (index >= 0)
        {
            cpu.Gpr[index] = value;
            return;
        }

        switch (name)
        {
            case "rflags":
                cpu.Rflags = value | CpuImage.InitialEflags;
                break;
            case "fs":
                cpu.FsBase = value;
                break;
            case "gs":
                cpu.GsBase = value;
                break;
            case "rip":
                cpu.Rip = value;
                break;
            default:
                throw new InvalidDataException($"unknown register '{name}'");
        }
    }

    private static void SetRegister(CpuImage cpu, string name, uint value)
    {
        int index = Array.IndexOf(CpuImage.GprNames, name);
        if (index >= 0)
        {
            cpu.Gpr[index] = value;
            return;
        }

        switch (name)
        {
            case "eflags":
                cpu.Eflags = value | CpuImage.InitialEflags;
                break;
            case "fs":
                cpu.FsBase = value;
                break;
            case "gs":
                cpu.GsBase = value;
                break;
            case "eip":
                cpu.Eip = value;
                break;
            case "fcw":
                BitConverter.TryWriteBytes(cpu.Fx.AsSpan(0), (ushort)value);
                break;
            case "mxcsr":
                BitConverter.TryWriteBytes(cpu.Fx.AsSpan(24), value);
                break;
            default:
                throw new InvalidDataException($"unknown register '{name}'");
        }
    }

    /// <summary>A number, a symbol, or symbol+number / symbol-number.</summary>
    internal static ulong Value(string text)
    {
        int sign = text.IndexOfAny(['+', '-'], 1);
        if (sign > 0)
        {
            ulong rest = Value(text[(sign + 1)..]);
            return Value(text[..sign]) + (text[sign] == '-' ? 0 - rest : rest);
        }

        foreach ((string name, uint value) in Symbols)
        {
            if (text == name)
            {
                return value;
            }
        }

        return text.StartsWith("0x", StringComparison.Ordinal)
            ? ulong.Parse(text.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture)
            : (ulong)long.Parse(text, CultureInfo.InvariantCulture);
    }

    private static Dictionary<string, AsmSnippet> LoadAll(string folder, string assembler, string linker)
    {
        string output = Directory.CreateTempSubdirectory("lhype-asm").FullName;
        try
        {
            Assemble(folder, output, assembler, linker);
            return Directory.GetFiles(folder, "*.s").Select(file => Load(file, output))
                .ToDictionary(snippet => snippet.Name);
        }
        finally
        {
            Directory.Delete(output, recursive: true);
        }
    }

    private static AsmSnippet Load(string file, string output)
    {
        var snippet = new AsmSnippet(Path.GetFileNameWithoutExtension(file));
        snippet.Code = File.ReadAllBytes(Path.Combine(output, snippet.Name + ".bin"));
        foreach (string line in File.ReadLines(file).TakeWhile(line => line.StartsWith('#')))
        {
            string[] words = line[1..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
            switch (words.Length == 0 ? "" : words[0])
            {
                case "init:":
                    snippet._init.AddRange(words[1..].Select(Assignment));
                    break;
                case "mem:":
                    snippet._memory.Add(((uint)Value(words[1]), [.. words[2..].Select(ByteOf)]));
                    break;
                case "vary:":
                    snippet.Vary = words[1..];
                    break;
                case "expect:":
                    snippet.Expectations.AddRange(words[1..].Select(Assignment));
                    break;
                case "known-gap:":
                    snippet.IsKnownGap = true;
                    break;
                case "kernel:":
                    snippet.RunsInKernel = words[1] != "no";
                    break;
            }
        }

        return snippet;
    }

    private static byte ByteOf(string word) =>
        byte.Parse(word.StartsWith("0x", StringComparison.Ordinal) ? word[2..] : word, NumberStyles.HexNumber,
            CultureInfo.InvariantCulture);

    private static (string Name, ulong Value) Assignment(string word)
    {
        int equals = word.LastIndexOf('=');
        return (word[..equals], Value(word[(equals + 1)..]));
    }

    /// <summary>One shell for all files: starting a process per file from .NET would take longer than
    /// assembling.
    /// </summary>
    private static void Assemble(string folder, string output, string assembler, string linker)
    {
        string symbols = string.Concat(Symbols.Select(s => $" --defsym {s.Name}=0x{s.Value:x}"));
        var start = new ProcessStartInfo("/bin/sh")
        {
            RedirectStandardError = true,
            WorkingDirectory = folder,
        };
        start.ArgumentList.Add("-c");
        start.ArgumentList.Add($"for f in *.s; do n=${{f%.s}}; "
            + $"echo .intel_syntax noprefix | {assembler}{symbols} -o '{output}'/$n.o - $f && "
            + $"{linker} -N -Ttext=0x{TestLayout.Code:x} -e 0 --oformat binary -o '{output}'/$n.bin "
            + $"'{output}'/$n.o || exit 1; done");
        using Process process = Process.Start(start)
            ?? throw new InvalidOperationException("cannot start /bin/sh");
        string errors = process.StandardError.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException($"{folder} does not assemble (binutils needed):\n" + errors);
        }
    }

    private static string FindFolder(string name)
    {
        for (DirectoryInfo? at = new(AppContext.BaseDirectory); at != null; at = at.Parent)
        {
            string candidate = Path.Combine(at.FullName, "tests", name);
            if (Directory.Exists(candidate))
            {
                return candidate;
            }
        }

        throw new DirectoryNotFoundException($"tests/{name} is not above " + AppContext.BaseDirectory);
    }
}
