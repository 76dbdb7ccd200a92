// Builds the initramfs of the images in ImageCatalog: busybox, the /init of init.sh, and the kernel modules a
// guest needs to find its virtio devices and an ext4 root file system. Called by ImageStore once per pulled
// kernel. The archive is not compressed: unpacking costs the guest more time than reading saves. Equal input
// gives equal bytes.

using System.Collections.Generic;
using System.IO;
using System.Text;

namespace Lhype.Images;

/// <summary>The initramfs of a busybox guest.</summary>
internal static class Initramfs
{
    /// <summary>What a guest may need before it has a root file system. Everything these depend on comes
    /// along.</summary>
    private static readonly string[] Modules =
    [
        "virtio_pci", "virtio_blk", "virtio_console", "virtio_net", "virtio_rng", "ext4", "crc32c_generic",
    ];

    private static readonly string[] Directories = ["bin", "dev", "etc", "proc", "root", "run", "sys", "tmp"];

    /// <summary>Changes whenever an initramfs built earlier is not what <see cref="Write"/> builds
    /// now.</summary>
    public static string Recipe
    {
        get
        {
            // FNV-1a: a cryptographic hash would cost every start the loading of its library.
            ulong hash = 0xCBF29CE484222325;
            foreach (char letter in "1\n" + string.Join(' ', Modules) + '\n' + Script("init.sh")
                + Script("udhcpc.sh"))
            {
                hash = (hash ^ letter) * 0x100000001B3;
            }

            return hash.ToString("x16");
        }
    }

    /// <summary>Writes the archive to <paramref name="output"/>.</summary>
    /// <param name="output">Receives the archive; stays open.</param>
    /// <param name="busybox">A statically linked busybox for the guest's architecture.</param>
    /// <param name="modulesDirectory">The kernel package's <c>lib/modules/VERSION</c>.</param>
    public static void Write(Stream output, byte[] busybox, string modulesDirectory)
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

        string release = Path.GetFileName(modulesDirectory);
        IReadOnlyList<KernelModule> modules = new KernelModules(modulesDirectory).Closure(Modules);
        StringBuilder dependencies = new();
        StringBuilder aliases = new();
        foreach (KernelModule module in modules)
        {
            archive.AddFile($"lib/modules/{release}/{module.Path}", module.Content);
            AppendDependencies(dependencies, module, modules);
            foreach (string alias in module.Aliases)
            {
                aliases.Append("alias ").Append(alias).Append(' ').Append(module.Name).Append('\n');
            }
        }

        archive.AddFile($"lib/modules/{release}/modules.dep", dependencies.ToString());
        archive.AddFile($"lib/modules/{release}/modules.alias", aliases.ToString());
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
