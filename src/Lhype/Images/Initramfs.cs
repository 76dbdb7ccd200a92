// Builds the initramfs of stock kernels: busybox, the /init of init.sh, and the kernel modules a guest needs
// to find its virtio devices and an ext2, ext3 or ext4 root file system. The drivers of other file systems
// are large and come as archives of their own, to be loaded behind the first. Called by ImageStore once per
// kernel. Nothing is compressed: unpacking costs the guest more time than reading saves. Equal input gives
// equal bytes.

using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;

namespace Lhype.Images;

/// <summary>The initramfs of a stock kernel.</summary>
internal static class Initramfs
{
    /// <summary>What a guest may need before it has a root file system. Everything these depend on comes
    /// along.</summary>
    private static readonly string[] Modules =
    [
        "virtio_pci", "virtio_blk", "virtio_console", "virtio_net", "virtio_rng", "ext4", "crc32c_generic",
        "button", "evdev",
    ];

    /// <summary>File systems a root can be on whose driver is not in the first archive.</summary>
    public static IReadOnlyList<string> ExtraFileSystems { get; } = ["xfs", "btrfs"];

    private static readonly string[] Directories = ["bin", "dev", "etc", "proc", "root", "run", "sys", "tmp"];

    /// <summary>Changes whenever an initramfs built earlier is not what <see cref="Write"/> builds
    /// now.</summary>
    public static string Recipe
    {
        get
        {
            // FNV-1a: a cryptographic hash would cost every start the loading of its library.
            ulong hash = 0xCBF29CE484222325;
            foreach (char letter in "2\n" + string.Join(' ', Modules) + '\n' + Script("init.sh")
                + Script("udhcpc.sh"))
            {
                hash = (hash ^ letter) * 0x100000001B3;
            }

            return hash.ToString("x16");
        }
    }

    /// <summary>Writes the first archive to <paramref name="output"/>, which stays open.</summary>
    /// <param name="output">Receives the archive.</param>
    /// <param name="busybox">A statically linked busybox for the guest's architecture.</param>
    /// <param name="modules">The kernel's modules; what it was made without is left out.</param>
    public static void Write(Stream output, byte[] busybox, KernelModules modules)
    {
        using CpioArchive archive = new(output);
        foreach (string directory in Directories)
        {
            archive.AddDirectory(directory);
        }

        // The kernel opens /dev/console for /init before /init can mount devtmpfs; its module loader is fixed
        // at /sbin/modprobe. All other busybox links are made by /init.
        archive.AddCharacterDevice("dev/console", 5, 1);
        archive.AddFile("bin/busybox", busybox, executable: true);
        archive.AddSymlink("bin/sh", "busybox");
        archive.AddSymlink("sbin", "bin");
        archive.AddFile("init", Script("init.sh"), executable: true);
        archive.AddFile("etc/udhcpc.sh", Script("udhcpc.sh"), executable: true);
        archive.AddFile("etc/passwd", "root::0:0:root:/root:/bin/sh\n");
        archive.AddFile("etc/group", "root:x:0:\ntty:x:5:\n");
        archive.AddFile("etc/profile", "export PS1='\\h:\\w# '\n");

        AddModules(archive, modules, modules.Closure(Modules.Where(modules.Has)), without: []);
    }

    /// <summary>Writes the archive with the driver of <paramref name="fileSystem"/> to
    /// <paramref name="output"/>; it is good behind the first archive of the same kernel only.</summary>
    public static void WriteFileSystem(Stream output, string fileSystem, KernelModules modules)
    {
        using CpioArchive archive = new(output);
        HashSet<string> first = [];
        string[] basic = [.. Modules.Where(modules.Has)];
        foreach (KernelModule module in modules.Closure(basic))
        {
            first.Add(module.Name);
        }

        AddModules(archive, modules, modules.Closure([.. basic, fileSystem]), first);
    }

    /// <summary>Adds modules but those named in <paramref name="without"/>, and the lists modprobe reads,
    /// which are about all of them: the lists of a later archive replace those of an earlier one.</summary>
    private static void AddModules(CpioArchive archive, KernelModules source,
        IReadOnlyList<KernelModule> modules, HashSet<string> without)
    {
        StringBuilder dependencies = new();
        StringBuilder aliases = new();
        foreach (KernelModule module in modules)
        {
            if (!without.Contains(module.Name))
            {
                archive.AddFile($"lib/modules/{source.Release}/{module.Path}", module.Content);
            }

            AppendDependencies(dependencies, module, modules);
            foreach (string alias in module.Aliases)
            {
                aliases.Append("alias ").Append(alias).Append(' ').Append(module.Name).Append('\n');
            }
        }

        archive.AddFile($"lib/modules/{source.Release}/modules.dep", dependencies.ToString());
        archive.AddFile($"lib/modules/{source.Release}/modules.alias", aliases.ToString());
    }

    /// <summary>One modules.dep line: the module, then everything it needs, directly or not, nearest
    /// first.</summary>
    private static void AppendDependencies(
        StringBuilder text, KernelModule module, IReadOnlyList<KernelModule> loadOrder)
    {
        HashSet<string> needed = [module.Name];
        text.Append(module.Path).Append(':');
        for (int index = loadOrder.Count - 1; index >= 0; index--)
        {
            KernelModule candidate = loadOrder[index];
            if (!needed.Contains(candidate.Name))
            {
                continue;
            }

            if (candidate != module)
            {
                text.Append(' ').Append(candidate.Path);
            }

            needed.UnionWith(candidate.Depends);
        }

        text.Append('\n');
    }

    private static string Script(string name)
    {
        using Stream stream = typeof(Initramfs).Assembly.GetManifestResourceStream(name)!;
        using StreamReader reader = new(stream, Encoding.UTF8);
        return reader.ReadToEnd();
    }
}
